"""PgBouncer in front of the PostgreSQL of the tests, as in docs/deployment.md, and the tests to skip with it."""

import os
import shutil
import subprocess
from configparser import ConfigParser
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import psycopg
from psycopg import sql

from persistence.database.engine import session_settings
from promo_api.config.settings import Settings
from promo_api.dev.ports import free_port
from promo_api.dev.postgres import EmbeddedPostgres
from promo_api.dev.postgres_programs import server_account
from promo_api.dev.processes import wait_until
from tests.deployment_page import block

_START_S, _END_S = 20, 10
_HOST = "127.0.0.1"
# Whether the tests connect to PostgreSQL through PgBouncer.
THROUGH_PGBOUNCER = bool(os.environ.get("TEST_THROUGH_PGBOUNCER"))
# Tests that cannot work through PgBouncer: the end of the node ID, and the reason to skip the test.
LEFT_OUT = {
    "test_failures.py::test_connection_closed_while_used[autocommit]": "the next statement runs in another session",
    **dict.fromkeys(
        [
            f"test_failures.py::test_connection_to_a_standby[{prepared}-{mode}]"
            for prepared in (True, False)
            for mode in ("autocommit", "transaction")
        ],
        "the next connection gets the same session",
    ),
    "test_health.py::test_read_only": "the session began before the database became read-only",
    "test_timeouts.py::test_unlimited_transaction": "the session belongs to PgBouncer, and outlives the connection",
}
_DEFAULTS = Settings(antifraud_address="127.0.0.1:1", secret_key="-" * 32)


class _Target(NamedTuple):
    """The parameters of a connection."""

    host: str
    port: int
    user: str


class PgBouncer:
    """PgBouncer on a free port, with the configuration of docs/deployment.md except for paths and authentication.

    Args:
        server: the PostgreSQL behind it.
        folder: for its files; created. PostgreSQL's user must have access to its parent.

    Attributes:
        host: for POSTGRES_HOST.
        port: for POSTGRES_PORT.
        environment: the settings of a service that connects through it.
    """

    def __init__(self, server: EmbeddedPostgres, folder: Path) -> None:
        self._server, self._folder = server, folder
        self.host, self.port = _HOST, free_port(_HOST)
        self._process: subprocess.Popen[bytes] | None = None
        self.environment = {
            "POSTGRES_HOST": _HOST,
            "POSTGRES_PORT": str(self.port),
            "POSTGRES_USERNAME": server.username,
            "POSTGRES_TRANSACTION_POOLING": "true",
        }

    def __enter__(self) -> Self:
        """Start it."""
        program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program, "PgBouncer is not installed (Debian: apt-get install pgbouncer)"
        account, server = server_account(), self._server
        _set_limits(_Target(server.host, server.port, server.username), server.username, _DEFAULTS)
        self._folder.mkdir()
        self._write_configuration()
        for path in (self._folder, *self._folder.iterdir()):
            if account is not None:
                os.chown(path, account.pw_uid, account.pw_gid)
        self._process = subprocess.Popen(
            [program, "-q", str(self._folder / "pgbouncer.ini")], cwd="/", start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            user=account.pw_uid if account else None, group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )  # fmt: skip
        assert wait_until(self._accepts_connections, _START_S), (self._folder / "log").read_text()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        assert self._process is not None
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        self._process.kill()
        self._process.wait()

    def switch_to(self, server: EmbeddedPostgres) -> None:
        """Connect to another server from now on."""
        self._server = server
        self._write_configuration()
        with closing(_connect(_Target(self.host, self.port, server.username), "pgbouncer")) as console:
            console.execute("RELOAD")

    def _write_configuration(self) -> None:
        configuration = ConfigParser(interpolation=None)
        configuration.read_string(block("ini pgbouncer.ini"))
        server = self._server
        configuration["databases"] = {"*": f"host={server.host} port={server.port}"}
        users = self._folder / "users"
        changes = {
            "listen_addr": _HOST, "listen_port": str(self.port), "unix_socket_dir": "",
            "logfile": str(self._folder / "log"), "pidfile": str(self._folder / "pid"),
            "auth_type": "trust", "auth_file": str(users), "auth_user": server.username, "admin_users": server.username,
            # Tests create databases and roles, and check that no connection is left open.
            "auth_query": "SELECT usename, passwd FROM pg_shadow WHERE usename = $1",
            "server_idle_timeout": "1",
        }  # fmt: skip
        configuration["pgbouncer"].update(changes)
        users.write_text(f'"{server.username}" ""\n')
        with (self._folder / "pgbouncer.ini").open("w") as file:
            configuration.write(file)

    def _accepts_connections(self) -> bool:
        with suppress(psycopg.OperationalError):
            _connect(_Target(_HOST, self.port, self._server.username), "postgres").close()
            return True
        return False


def limited(settings: Settings) -> Settings:
    """Return settings with a role that has their session settings, which the service cannot set through PgBouncer."""
    session = session_settings(settings)
    if not settings.postgres_transaction_pooling or session == session_settings(_DEFAULTS):
        return settings
    target = _Target(settings.postgres_host, settings.postgres_port, settings.postgres_username)
    role = "limits-" + "-".join(session.values())
    with suppress(psycopg.errors.DuplicateObject):
        _execute(target, sql.SQL("CREATE ROLE {} SUPERUSER LOGIN").format(sql.Identifier(role)))
        _set_limits(target, role, settings)
    return replace(settings, postgres_username=role)


def behind_pgbouncer(stack: ExitStack, server: EmbeddedPostgres, folder: Path) -> dict[str, str]:
    """Start PgBouncer if THROUGH_PGBOUNCER; return the settings that override those of the server."""
    return stack.enter_context(PgBouncer(server, folder)).environment if THROUGH_PGBOUNCER else {}


def _set_limits(target: _Target, role: str, settings: Settings) -> None:
    for name, value in session_settings(settings).items():
        setting = sql.SQL("ALTER ROLE {} SET {} = {}").format(sql.Identifier(role), sql.Identifier(name), value)
        _execute(target, setting)


def _execute(target: _Target, statement: sql.Composed) -> None:
    with closing(_connect(target, "postgres")) as connection:
        connection.execute(statement)


def _connect(target: _Target, database: str) -> psycopg.Connection[Any]:
    return psycopg.connect(**target._asdict(), dbname=database, autocommit=True)
