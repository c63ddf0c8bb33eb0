"""The command `dev` (`make run`): embedded servers, migrations and the service, until Ctrl-C. `demo` runs it too."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set as AbstractSet
from contextlib import ExitStack, contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Protocol, TextIO

import psutil

from promo_api.config.settings import Settings, SettingsError
from promo_api.config.values import Address
from promo_api.dev.antifraud_stub import EmbeddedAntifraud
from promo_api.dev.embedded import DevError
from promo_api.dev.folder import find_or_create_secret_key, lock_folder
from promo_api.dev.mailbox import dev_mailbox
from promo_api.dev.ports import check_service_port
from promo_api.dev.postgres import EmbeddedPostgres
from promo_api.dev.processes import end_group, read_pid_file, write_pid_file
from promo_api.dev.signals import StopSignals, stop_signals
from promo_api.dev.valkey import EmbeddedValkey

PROGRAM = (sys.executable, "-m", "promo_api")
_RESET_PAGE = "/console/#/reset-password?kind={kind}&token={token}"
# The required settings have placeholders until their servers have started.
_DEFAULTS = {
    "SERVER_ADDRESS": "127.0.0.1:8080",
    "ANTIFRAUD_ADDRESS": "127.0.0.1:1",
    "SECRET_KEY": "-" * 64,
    "LOG_FORMAT": "dev",
    "MAIL_FROM": "Promo Code API <promo@localhost>",
    "PASSWORD_RESET_URL": f"http://127.0.0.1:8080{_RESET_PAGE}",
}
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 maps to the address that clients use
_READY_S = 60
_STOP_S = 10
_POLL_S = 0.1
_REPORT_EVERY_S = 3
_ENDED_BY_SIGNAL = 128


class _StopRequestedError(Exception):
    """A stop signal was received."""


class Content(Protocol):
    """What fills the database before the service starts."""

    @property
    def is_stored(self) -> bool:
        """Whether the database has it. Otherwise a new database is created."""

    def start(self, stack: ExitStack) -> None:
        """Start the servers that it needs."""

    def fill(self, environment: Mapping[str, str], report: Callable[[str], None]) -> None:
        """Fill a new database. `report` prints some of the lines, and raises an error after a stop signal."""

    def describe(self) -> str:
        """Return lines about it for the user."""


def run_dev(
    environment: Mapping[str, str],
    folder: Path = Path(".promo"),
    program: Sequence[str] = PROGRAM,
    content: Content | None = None,
) -> int:
    """Run the service, with embedded servers where `environment` (empty means missing) names none.

    Returns:
        The exit status: 0 after a stop signal, 1 if a server, the folder or the port is not available, 2 for invalid
        settings, or the status of `migrate` or `serve`.
    """
    configured = {name: value for name, value in environment.items() if value}
    try:
        settings = Settings.from_environment(_DEFAULTS | configured)
    except SettingsError as error:
        print_line("\n- ".join(["Invalid settings:", *error.problems]), sys.stderr)
        return 2
    dev = _Dev(_DEFAULTS | configured, configured.keys(), settings, folder, program, content)
    try:
        with stop_signals() as signals, lock_folder(folder):
            return dev.run(signals)
    except DevError as error:
        print_line(str(error), sys.stderr)
    except OSError as error:
        print_line(f"dev failed: {error}.", sys.stderr)
    return 1


class _Dev:
    """One run of the command. `configured`: the names that the user has set."""

    def __init__(
        self,
        environment: dict[str, str],
        configured: AbstractSet[str],
        settings: Settings,
        folder: Path,
        program: Sequence[str],
        content: Content | None,
    ) -> None:
        self._content = content
        self._environment = environment
        self._configured = configured
        self._server_address = address = settings.server_address
        self._client_address = Address(_LOOPBACK.get(address.host, address.host), address.port)
        if "PASSWORD_RESET_URL" not in configured:
            self._environment["PASSWORD_RESET_URL"] = f"{self._url}{_RESET_PAGE}"
        self._stop_timeout_s = settings.server_drain_s + settings.server_stop_timeout_s + _STOP_S
        self._folder = folder
        self._program = program
        self._pid_file = folder / "serve.pid"

    def run(self, signals: StopSignals) -> int:
        self._stop_leftover()
        check_service_port(*self._server_address)
        if "SECRET_KEY" not in self._configured:
            self._environment["SECRET_KEY"] = find_or_create_secret_key(self._folder)
        with ExitStack() as stack:
            try:
                self._start_servers(stack, signals)
                status = self._migrate(signals)
                if not status and self._content is not None:
                    self._fill(self._content, stack, signals)
                status = status or self._serve(signals)
            except _StopRequestedError:
                status = 0
        print_line("stopped." if signals.wait(0) else "Stopped.")
        return status

    def _stop_leftover(self) -> None:
        leftover = read_pid_file(self._pid_file)
        if leftover is not None:
            print_line(f"Stopping the service of the previous run (process {leftover.pid}) ...")
            end_group(leftover, self._stop_timeout_s)
        self._pid_file.unlink(missing_ok=True)

    def _start_servers(self, stack: ExitStack, signals: StopSignals) -> None:
        servers = {
            ("POSTGRES_HOST",): ("PostgreSQL", self._start_postgres),
            ("REDIS_URL", "REDIS_HOST"): ("Valkey", self._start_valkey),
            ("ANTIFRAUD_ADDRESS",): ("Anti-fraud stub", self._start_antifraud),
            ("SMTP_URL", "SMTP_URL_FILE"): ("Mailbox", self._start_mailbox),
        }
        for names, (server, start) in servers.items():
            configured = [name for name in names if name in self._configured]
            if configured:
                print_line(f"{server}: not started, {configured[0]} is set.")
                continue
            began = time.monotonic()
            start(stack)
            print_line(f"{server}: started ({time.monotonic() - began:.1f} s)")
            _check_stop(signals, 0)

    def _start_postgres(self, stack: ExitStack) -> None:
        postgres = stack.enter_context(EmbeddedPostgres(self._folder / "postgres"))
        database = self._environment.setdefault("POSTGRES_DATABASE", "promo")
        if self._content is not None and not self._content.is_stored:
            postgres.drop_database(database)
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

    def _start_mailbox(self, stack: ExitStack) -> None:
        mailbox = stack.enter_context(dev_mailbox(self._folder / "mail", print_line))
        self._environment.update(SMTP_URL=f"smtp://{mailbox.address}")

    def _migrate(self, signals: StopSignals) -> int:
        began = time.monotonic()
        with self._child("migrate") as child:
            status = _wait_for_exit(child, signals)
        if status:
            print_line(f"Migrations failed with status {status}.", sys.stderr)
        else:
            print_line(f"Migrations: applied ({time.monotonic() - began:.1f} s)")
        return status

    def _fill(self, content: Content, stack: ExitStack, signals: StopSignals) -> None:
        content.start(stack)
        if content.is_stored:
            return
        began = time.monotonic()
        printed = began - _REPORT_EVERY_S

        def report(line: str) -> None:
            nonlocal printed
            _check_stop(signals, 0)
            if time.monotonic() - printed >= _REPORT_EVERY_S:
                printed = time.monotonic()
                print_line(f"Data: {line}")

        content.fill(self._environment, report)
        print_line(f"Data: filled ({time.monotonic() - began:.1f} s)")

    def _serve(self, signals: StopSignals) -> int:
        with self._child("serve") as child:
            write_pid_file(self._pid_file, child.pid)
            began = time.monotonic()
            while not self._is_ready() and child.poll() is None:
                _check_stop(signals, _POLL_S)
                if time.monotonic() - began > _READY_S:
                    raise DevError(f"The service did not respond on {self._client_address} within {_READY_S} s.")
            if child.poll() is None:
                self._print_addresses(time.monotonic() - began)
            status = _wait_for_exit(child, signals)
            print_line(f"The service ended with status {status}.", sys.stderr)
        return status

    @contextmanager
    def _child(self, command: str) -> Iterator[subprocess.Popen[bytes]]:
        # In a new session: on Ctrl-C, this process stops the others in order.
        child = subprocess.Popen(  # noqa: S603 the program is our own
            [*self._program, command], env=self._environment, start_new_session=True
        )
        try:
            yield child
        finally:
            with suppress(psutil.NoSuchProcess):
                end_group(psutil.Process(child.pid), self._stop_timeout_s)
            child.wait()
            self._pid_file.unlink(missing_ok=True)

    def _is_ready(self) -> bool:
        connection = HTTPConnection(*self._client_address, timeout=1)
        try:
            connection.request("GET", "/api/ping")
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def _mails(self) -> Path | str:
        return "sent by SMTP_URL" if self._configured & {"SMTP_URL", "SMTP_URL_FILE"} else self._folder / "mail"

    @property
    def _url(self) -> str:
        host, port = self._client_address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def _print_addresses(self, duration_s: float) -> None:
        url = self._url
        print_line(
            f"API: started ({duration_s:.1f} s)\n\n"
            f"  API                  {url}/api\n"
            f"  Console              {url}/console/\n"
            f"  Documentation        {url}/api/docs\n"
            f"  Anti-fraud service   {_url(self._environment['ANTIFRAUD_ADDRESS'])}\n"
            f"  Mails                {self._mails()}\n"
            f"  Try it               curl {url}/api/ping\n"
            f"{'' if self._content is None else self._content.describe()}\n"
            f"Press Ctrl-C to stop. The data stays in {self._folder}.\n"
        )


def _check_stop(signals: StopSignals, timeout_s: float) -> None:
    if signals.wait(timeout_s):
        print_line("\nStopping ... ", end="")
        raise _StopRequestedError


def _wait_for_exit(child: subprocess.Popen[bytes], signals: StopSignals) -> int:
    while child.poll() is None:
        _check_stop(signals, _POLL_S)
    # As a shell reports the end by a signal.
    return child.returncode if child.returncode >= 0 else _ENDED_BY_SIGNAL - child.returncode


def _url(address: str) -> str:
    return address if "://" in address or address.lower() == "none" else f"http://{address}"


def print_line(text: str, file: TextIO | None = None, end: str = "\n") -> None:
    """Print a line to standard output or `file`. A closed terminal must not stop the shutdown."""
    with suppress(OSError):
        print(text, file=file or sys.stdout, end=end, flush=True)
