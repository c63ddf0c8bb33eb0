"""The commands of the project as processes."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import requests

from persistence.database.engine import Database
from persistence.migrations import update_schema
from promo_api.config.settings import Settings, variable
from promo_api.dev.ports import free_port
from promo_api.dev.processes import wait_gone, wait_until
from tests.accounts import Api
from tests.e2e.remote import Remote

_ROOT = Path(__file__).parents[2]
_HOST = "127.0.0.1"
_START_S = _END_S = 40
_SETTINGS = {variable(declared) for declared in fields(Settings)}


def run_command(environment: Mapping[str, str], *arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run `python -m promo_api` to its end, in a folder, with these settings only."""
    return subprocess.run(
        _command(*arguments), env=_variables(environment), cwd=folder, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


class Server:
    """The command `serve` on a local port, with a log file in a folder. It can be started several times.

    Attributes:
        url: the base URL.
        remote: the HTTP client of the tests.
        accounts: signs up accounts.
        around: a command that runs the command after it.
        listener: the socket to accept connections from, as systemd passes one.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path, port: int | None = None) -> None:
        self.port = port or free_port(_HOST)
        self.environment = {"SERVER_WORKERS": "2"} | dict(environment) | {"SERVER_ADDRESS": f"{_HOST}:{self.port}"}
        self._folder = folder
        self._log = folder / "serve.log"
        self.around: list[str] = []
        self.listener: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://{_HOST}:{self.port}"
        self.remote = Remote(self.url)
        self.accounts = Api(self.remote)  # type: ignore[arg-type]

    def migrate(self) -> None:
        """Update the schema as the command `migrate` does, but in this process, which is faster."""
        with closing(Database(Settings.from_environment(self.environment))) as database:
            update_schema(database.engine)

    def start(self) -> None:
        """Start the server, and wait until it responds and all workers run."""
        inherited = [] if self.listener is None else [self.listener.fileno()]
        with self._log.open("ab") as log:
            self._process = process = subprocess.Popen(
                [*self.around, *_handing_over(inherited), *_command("serve")], env=_variables(self.environment),
                cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                pass_fds=inherited,
            )  # fmt: skip
        assert wait_until(lambda: self.responds() or process.poll() is not None, _START_S), self.log
        assert process.poll() is None, self.log
        wanted = int(self.environment["SERVER_WORKERS"])
        assert wait_until(lambda: len(self.workers()) == wanted, _START_S), self.log

    def end(self) -> int:
        """Stop the server, and return the exit status, or -1 if it was not started."""
        if self._process is None:
            return -1
        self.signal(signal.SIGTERM)
        return self.wait()

    def signal(self, number: int) -> None:
        """Send a signal to the master process."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for the end of the server, and return the exit status."""
        process, self._process = self._process, None
        assert process is not None
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_END_S)
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()

    def restart(self) -> None:
        """Stop and start the server."""
        assert self.end() == 0, self.log
        self.start()

    def __enter__(self) -> Self:
        """Update the schema, and start the server."""
        self.migrate()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server, and kill workers that are left."""
        workers = self.workers() if self._process is not None else []
        self.end()
        self.remote.close()
        for worker in workers:
            with suppress(psutil.NoSuchProcess):
                worker.kill()

    @property
    def log(self) -> str:
        """The log."""
        return self._log.read_text(encoding="utf-8")

    def lines(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the log lines after a number of characters; LOG_FORMAT must be json."""
        whole = self.log[since:].rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def tracebacks(self, since: int = 0) -> list[str]:
        """Return the log lines with a traceback, after a number of characters."""
        return [line for line in self.log[since:].splitlines() if "Traceback" in line]

    def responds(self) -> bool:
        """Return whether the server responds."""
        with suppress(requests.RequestException):
            return requests.get(f"{self.url}/api/ping", timeout=5).status_code == 200
        return False

    def workers(self) -> list[psutil.Process]:
        """Return the worker processes."""
        assert self._process is not None
        return psutil.Process(self._process.pid).children(recursive=True)

    def worked_s(self) -> float:
        """Return the CPU time of all workers in seconds."""
        return sum(times.user + times.system for times in (worker.cpu_times() for worker in self.workers()))

    def kill_worker(self) -> None:
        """Kill a worker."""
        self._kill(self.workers()[:1])

    def kill_workers(self) -> None:
        """Kill all workers, and wait for their successors."""
        self._kill(self.workers())
        assert wait_until(self.responds, _START_S), self.log

    def _kill(self, workers: list[psutil.Process]) -> None:
        for worker in workers:
            worker.kill()
        assert wait_gone(workers, 10)


_HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.argv[2], sys.argv[2:])
"""


def _handing_over(files: list[int]) -> list[str]:
    """Return a command prefix that passes a listening socket as file descriptor 3, as systemd does."""
    return [argument for file in files for argument in (sys.executable, "-c", _HAND_OVER, str(file))]


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "promo_api", *arguments]


def _variables(environment: Mapping[str, str]) -> dict[str, str]:
    around = {name: value for name, value in os.environ.items() if name not in _SETTINGS}
    return around | {"PYTHONPATH": str(_ROOT), "PYTHONUNBUFFERED": "1"} | dict(environment)
