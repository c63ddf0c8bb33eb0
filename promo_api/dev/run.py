"""The command `dev`: the service and all that it needs, from nothing, until Ctrl-C."""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence, Set as AbstractSet
from contextlib import ExitStack, contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TextIO

import psutil

from promo_api.dev import SandboxError
from promo_api.dev.antifraud_stub import EmbeddedAntifraud
from promo_api.dev.folder import locked, secret_key
from promo_api.dev.ports import check_free
from promo_api.dev.postgres import EmbeddedPostgres
from promo_api.dev.processes import end_group, read_pid_file, write_pid_file
from promo_api.dev.signals import StopSignals, stop_signals
from promo_api.dev.valkey import EmbeddedValkey
from promo_api.setting_values import Address
from promo_api.settings import Settings, SettingsError

_PROGRAM = (sys.executable, "-m", "promo_api")
# Its own defaults, and stand-ins for what only the servers can tell; what is given wins.
_DEFAULTS = {
    "SERVER_ADDRESS": "127.0.0.1:8080",
    "ANTIFRAUD_ADDRESS": "127.0.0.1:1",
    "SECRET_KEY": "-" * 64,
    "LOG_FORMAT": "text",
}
_ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 what it is reached at, not what it listens on
_READY_S = 60
# For the service to end, once its requests have had the time that it gives them.
_END_S = 10
_POLL_S = 0.1
_ENDED_BY_SIGNAL = 128


class _StopAskedError(Exception):
    """A signal asked to stop."""


def run_dev(environment: Mapping[str, str], folder: Path = Path(".promo"), program: Sequence[str] = _PROGRAM) -> int:
    """Run the service with embedded servers in place of those that the environment doesn't name, until Ctrl-C.

    Args:
        environment: of the service; what it gives is taken over, an empty value counts as not given.
        folder: of the data of the embedded servers and of the secret key.
        program: what the commands `migrate` and `serve` are given to.

    Returns:
        The exit status: 0 after Ctrl-C or SIGTERM, 1 when a server can't be started or the folder or the port is
        taken, 2 for settings that can't be used, or that of the command `migrate` or `serve` that ended by itself.
    """
    given = {name: value for name, value in environment.items() if value}
    try:
        settings = Settings.from_environment(_DEFAULTS | given)
    except SettingsError as error:
        _say("\n- ".join(["The settings can't be used:", *error.problems]), sys.stderr)
        return 2
    dev = _Dev(_DEFAULTS | given, given.keys(), settings, folder, program)
    try:
        with stop_signals() as signals, locked(folder):
            return dev.run(signals)
    except SandboxError as error:
        _say(str(error), sys.stderr)
    except OSError as error:
        _say(f"dev can't go on: {error}.", sys.stderr)
    return 1


class _Dev:
    """One run of the command.

    Args:
        environment: of the service; what the embedded servers tell is added.
        given: the names in it that don't come from the defaults.
        settings: that the service will read from the environment.
        folder: see run_dev.
        program: see run_dev.
    """

    def __init__(
        self,
        environment: dict[str, str],
        given: AbstractSet[str],
        settings: Settings,
        folder: Path,
        program: Sequence[str],
    ) -> None:
        self._environment = environment
        self._given = given
        self._listens_on = address = settings.server_address
        self._address = Address(_ANY_HOST.get(address.host, address.host), address.port)
        self._patience_s = settings.server_stop_timeout_s + _END_S
        self._folder = folder
        self._program = program
        self._pid_file = folder / "serve.pid"

    def run(self, signals: StopSignals) -> int:
        self._end_leftover()
        check_free(*self._listens_on)
        if "SECRET_KEY" not in self._given:
            self._environment["SECRET_KEY"] = secret_key(self._folder)
        with ExitStack() as stack:
            try:
                self._start_servers(stack, signals)
                status = self._migrate(signals) or self._serve(signals)
            except _StopAskedError:
                status = 0
        _say("Everything is stopped.")
        return status

    def _end_leftover(self) -> None:
        leftover = read_pid_file(self._pid_file)
        if leftover is not None:
            _say(f"Ending the service that the last dev left running (process {leftover.pid}).")
            end_group(leftover, self._patience_s)
        self._pid_file.unlink(missing_ok=True)

    def _start_servers(self, stack: ExitStack, signals: StopSignals) -> None:
        starts = {
            ("POSTGRES_HOST",): ("PostgreSQL", self._start_postgres),
            ("REDIS_URL", "REDIS_HOST"): ("Valkey", self._start_valkey),
            ("ANTIFRAUD_ADDRESS",): ("Anti-fraud stand-in", self._start_antifraud),
        }
        for names, (what, start) in starts.items():
            given = [name for name in names if name in self._given]
            if given:
                _say(f"{what}: not started, {given[0]} is given.")
                continue
            began = time.monotonic()
            start(stack)
            _say(f"{what} started ({time.monotonic() - began:.1f} s)")
            _check_asked(signals, 0)

    def _start_postgres(self, stack: ExitStack) -> None:
        postgres = stack.enter_context(EmbeddedPostgres(self._folder / "postgres"))
        database = self._environment.setdefault("POSTGRES_DATABASE", "promo")
        postgres.create_database(database)
        self._environment.update(
            POSTGRES_HOST=postgres.host, POSTGRES_PORT=str(postgres.port), POSTGRES_USERNAME=postgres.username
        )

    def _start_valkey(self, stack: ExitStack) -> None:
        valkey = stack.enter_context(EmbeddedValkey(self._folder / "valkey"))
        self._environment.update(REDIS_HOST=valkey.host, REDIS_PORT=str(valkey.port))

    def _start_antifraud(self, stack: ExitStack) -> None:
        antifraud = stack.enter_context(EmbeddedAntifraud())
        self._environment.update(ANTIFRAUD_ADDRESS=antifraud.address)

    def _migrate(self, signals: StopSignals) -> int:
        began = time.monotonic()
        with self._child("migrate") as child:
            status = _wait_end(child, signals)
        if status:
            _say(f"The database could not be migrated: status {status}.", sys.stderr)
        else:
            _say(f"Database migrated ({time.monotonic() - began:.1f} s)")
        return status

    def _serve(self, signals: StopSignals) -> int:
        with self._child("serve") as child:
            write_pid_file(self._pid_file, child.pid)
            began = time.monotonic()
            while not self._answers() and child.poll() is None:
                _check_asked(signals, _POLL_S)
                if time.monotonic() - began > _READY_S:
                    raise SandboxError(f"The service didn't answer on {self._address} within {_READY_S} s.")
            if child.poll() is None:
                self._say_ready(time.monotonic() - began)
            status = _wait_end(child, signals)
            _say(f"The service ended by itself with status {status}.", sys.stderr)
        return status

    @contextmanager
    def _child(self, command: str) -> Iterator[subprocess.Popen[bytes]]:
        # In a session of its own, so that Ctrl-C in the terminal reaches only this process.
        child = subprocess.Popen(  # noqa: S603 the program is our own
            [*self._program, command], env=self._environment, start_new_session=True
        )
        try:
            yield child
        finally:
            with suppress(psutil.NoSuchProcess):
                end_group(psutil.Process(child.pid), self._patience_s)
            child.wait()
            self._pid_file.unlink(missing_ok=True)

    def _answers(self) -> bool:
        connection = HTTPConnection(*self._address, timeout=1)
        try:
            connection.request("GET", "/api/ping")
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def _say_ready(self, duration_s: float) -> None:
        host, port = self._address
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        _say(
            f"Service started ({duration_s:.1f} s)\n\n"
            f"  API                  {url}/api\n"
            f"  Documentation        {url}/api/ui\n"
            f"  Anti-fraud service   {_url(self._environment['ANTIFRAUD_ADDRESS'])}\n"
            f"  Try                  curl {url}/api/ping\n\n"
            f"Ctrl-C stops everything; the data stay in {self._folder}.\n"
        )


def _check_asked(signals: StopSignals, timeout_s: float) -> None:
    if signals.wait(timeout_s):
        _say("\nStopping ...")
        raise _StopAskedError


def _wait_end(child: subprocess.Popen[bytes], signals: StopSignals) -> int:
    while child.poll() is None:
        _check_asked(signals, _POLL_S)
    # As a shell tells that a signal ended it.
    return child.returncode if child.returncode >= 0 else _ENDED_BY_SIGNAL - child.returncode


def _url(address: str) -> str:
    return address if "://" in address else f"http://{address}"


def _say(text: str, where: TextIO | None = None) -> None:
    # Whoever read it may be gone, as the end of the terminal is one way to stop; the tidy end goes on.
    with suppress(OSError):
        print(text, file=where or sys.stdout, flush=True)
