"""The command `dev`, with a double of the service."""

import json
import os
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from promo_api.dev.ports import free_port, listen

DOUBLE = Path(__file__).with_name("fake_service.py")
READY = "Ctrl-C stops everything"
CODE = """
import os, sys
from pathlib import Path
from promo_api.dev.run import run_dev
sys.exit(run_dev(os.environ, Path(sys.argv[1]), (sys.executable, sys.argv[2])))
"""
StartPython = Callable[..., "subprocess.Popen[str]"]
StartDev = Callable[..., "Dev"]
FindRunning = Callable[[Path], list[object]]


class Dev:
    """A `dev` in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]", address: str) -> None:
        self.process = process
        self.address = address

    def read_until_ready(self) -> str:
        """Return what it has printed when it is ready, or all of it when it ends before."""
        assert self.process.stdout is not None
        printed = ""
        for line in self.process.stdout:
            printed += line
            if line.startswith(READY):
                return printed
        return printed

    def ask(self) -> Any:
        """Return what the double of the service tells."""
        with urlopen(f"http://{self.address}/api/ping", timeout=10) as answer:
            return json.load(answer)

    def end(self) -> tuple[int, str, str]:
        """Return the exit status, and what it has printed since, when it has ended."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@pytest.fixture
def start_dev(start_python: StartPython, folder: Path) -> StartDev:
    """Return a function that starts a `dev` on the folder, on a free port unless the variables give another."""

    def start(**variables: str) -> Dev:
        address = variables.setdefault("SERVER_ADDRESS", f"127.0.0.1:{free_port('127.0.0.1')}")
        return Dev(start_python(CODE, folder / ".promo", DOUBLE, **variables), address)

    return start


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_runs_until_asked_to_stop(
    start_dev: StartDev, folder: Path, find_running: FindRunning, number: signal.Signals
) -> None:
    """It says what it started and where; a signal, and a second one of an impatient hand, end all of it in order."""
    dev = start_dev()
    printed = dev.read_until_ready()
    for part in ("PostgreSQL started (", "Valkey started (", f"http://{dev.address}/api/ui", "curl http://"):
        assert part in printed
    environment = dev.ask()["environment"]
    assert environment["POSTGRES_DATABASE"] == "promo"
    assert environment["LOG_FORMAT"] == "text"
    assert f"http://{environment['ANTIFRAUD_ADDRESS']}" in printed
    os.killpg(dev.process.pid, number)  # as the terminal does it, to all of its group
    os.killpg(dev.process.pid, number)
    status, out, err = dev.end()
    assert (status, err) == (0, "")
    assert out.endswith("Everything is stopped.\n")
    assert find_running(folder) == []


def test_again_after_sigkill(start_dev: StartDev, folder: Path) -> None:
    """A `dev` that was killed leaves nothing in the way of the next one, on the same port with the same data."""
    first = start_dev()
    first.read_until_ready()
    key = first.ask()["environment"]["SECRET_KEY"]
    first.process.kill()
    first.process.wait()
    second = start_dev(SERVER_ADDRESS=first.address)
    assert "that the last dev left running" in second.read_until_ready()
    told = second.ask()
    assert told["starts"] == 2
    assert told["environment"]["SECRET_KEY"] == key
    assert stat.S_IMODE((folder / ".promo" / "secret_key").stat().st_mode) == 0o600
    second.process.send_signal(signal.SIGINT)
    assert second.end()[0] == 0


def test_second_dev_on_the_folder(start_dev: StartDev) -> None:
    """A second one on the same folder is told which the first is, and leaves it alone."""
    first = start_dev()
    first.read_until_ready()
    status, out, err = start_dev().end()
    assert (status, out) == (1, "")
    assert f"Another dev (process {first.process.pid}) runs on the folder" in err
    assert err.count("\n") == 1
    assert first.ask()["starts"] == 1


def test_taken_port(start_dev: StartDev, folder: Path) -> None:
    """A port that is taken is told, with the way out, before anything is started."""
    with listen("127.0.0.1", None) as taken:
        port = taken.getsockname()[1]
        status, out, err = start_dev(SERVER_ADDRESS=f"127.0.0.1:{port}").end()
    assert (status, out) == (1, "")
    assert err.startswith(f"Port {port} of 127.0.0.1 is taken by another program")
    assert "SERVER_ADDRESS=" in err
    assert err.count("\n") == 1
    assert not (folder / ".promo" / "postgres").exists()


def test_wrong_settings(start_dev: StartDev, folder: Path) -> None:
    """All that is wrong with the settings is told at once, before anything is made."""
    status, out, err = start_dev(SERVER_ADDRESS="here", REDIS_PORT="x", SECRET_KEY="short").end()
    assert (status, out) == (2, "")
    assert all(name in err for name in ("SERVER_ADDRESS", "REDIS_PORT", "SECRET_KEY"))
    assert "Traceback" not in err
    assert not (folder / ".promo").exists()


@pytest.mark.parametrize("command", ["migrate", "serve"])
def test_command_of_the_service_fails(start_dev: StartDev, command: str) -> None:
    """When a command of the service ends by itself everything is stopped, and its status is handed on."""
    dev = start_dev(ENDS=f"{command}:7")
    assert "Everything is stopped." in dev.read_until_ready()
    status, _, err = dev.end()
    assert status == 7
    assert "status 7." in err


def test_redis_by_url_is_used(start_dev: StartDev) -> None:
    """Nor is a Redis started where one is named by its URL."""
    printed = start_dev(REDIS_URL="redis+sentinel://:hunter2@sentinel.example/verdicts").read_until_ready()
    assert "Valkey: not started, REDIS_URL is given." in printed
    assert "hunter2" not in printed


def test_given_servers_are_used(start_dev: StartDev, folder: Path) -> None:
    """What the environment names is not started but used, and an empty value names nothing."""
    key = "k" * 40
    dev = start_dev(
        REDIS_HOST="redis.example", ANTIFRAUD_ADDRESS="http://fraud.example", SECRET_KEY=key, POSTGRES_HOST=""
    )
    printed = dev.read_until_ready()
    assert "Valkey: not started, REDIS_HOST is given." in printed
    environment = dev.ask()["environment"]
    assert environment["REDIS_HOST"] == "redis.example"
    assert environment["ANTIFRAUD_ADDRESS"] == "http://fraud.example"
    assert environment["SECRET_KEY"] == key
    assert not (folder / ".promo" / "valkey").exists()
    assert not (folder / ".promo" / "secret_key").exists()


def test_folder_that_cannot_be_used(start_dev: StartDev, folder: Path) -> None:
    """A file where the folder should be is a sentence, not a traceback."""
    (folder / ".promo").write_text("")
    status, out, err = start_dev().end()
    assert (status, out) == (1, "")
    assert err.startswith("The folder ")
    assert err.count("\n") == 1


def test_server_that_does_not_start(start_dev: StartDev, folder: Path, find_running: FindRunning) -> None:
    """A server that can't start is a sentence with the place of its log, and what was started before is stopped."""
    (folder / ".promo" / "valkey").mkdir(parents=True)
    (folder / ".promo" / "valkey" / "appendonlydir").write_text("not a folder")
    dev = start_dev()
    dev.read_until_ready()
    status, _, err = dev.end()
    assert status == 1
    assert err.startswith("Valkey didn't start")
    assert err.count("\n") == 1
    assert find_running(folder) == []
