"""A primary PostgreSQL server and a standby that replays its WAL."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg

from promo_api.dev.postgres import EmbeddedPostgres
from promo_api.dev.postgres_programs import make_private_folder, program, run_program
from promo_api.dev.processes import wait_until
from tests.pgbouncer import THROUGH_PGBOUNCER, PgBouncer

_TIMEOUT_S = 30


class Pair:
    """A primary with a standby.

    Attributes:
        environment: the settings of a service that uses the current primary.
    """

    def __init__(self, stack: ExitStack, folder: Path, *, synchronous: bool) -> None:
        self.primary = stack.enter_context(EmbeddedPostgres(folder / "primary"))
        self.primary.create_database("promo")
        self._standby_folder = folder / "standby"
        make_private_folder(self._standby_folder)
        target = ["-h", self.primary.host, "-p", str(self.primary.port), "-U", self.primary.username]
        options = ["-D", str(self._standby_folder), "-R", "-c", "fast"]
        run_program(program("pg_basebackup"), *target, *options, timeout_s=_TIMEOUT_S)
        # The socket of the primary and its lock file are in the data folder, and the lock file is copied.
        (self._standby_folder / f".s.PGSQL.{self.primary.port}.lock").unlink()
        self.standby = stack.enter_context(EmbeddedPostgres(self._standby_folder))
        if synchronous:
            self._make_synchronous()
        self._pooler = stack.enter_context(PgBouncer(self.primary, folder / "pgbouncer")) if THROUGH_PGBOUNCER else None
        self.environment = self._pooler.environment if self._pooler else self._direct()
        self.environment |= {"POSTGRES_PASSWORD": "", "POSTGRES_DATABASE": "promo"}

    def promote(self) -> None:
        """Promote the standby, and wait until it is the primary."""
        run_program(program("pg_ctl"), "-D", str(self._standby_folder), "-w", "promote", timeout_s=_TIMEOUT_S)
        if self._pooler:
            self._pooler.switch_to(self.standby)

    def on_primary(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement in autocommit mode, and return its rows."""
        return _run(self.primary, statement, values)

    def on_standby(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement in autocommit mode, and return its rows."""
        return _run(self.standby, statement)

    def catch_up(self) -> None:
        """Wait until the standby has replayed what the primary has now."""
        # It also moves the end of the WAL away from the beginning of a page, where it is the end of no record.
        [(position,)] = self.on_primary("SELECT pg_logical_emit_message(false, 'test', 'catch up', true)")
        replayed = f"SELECT pg_last_wal_replay_lsn() >= '{position}'"
        assert wait_until(lambda: self.on_standby(replayed) == [(True,)], _TIMEOUT_S)

    def _make_synchronous(self) -> None:
        self.on_primary("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.on_primary("SELECT pg_reload_conf()")
        states = "SELECT sync_state FROM pg_stat_replication"
        assert wait_until(lambda: self.on_primary(states) == [("sync",)], _TIMEOUT_S)

    def _direct(self) -> dict[str, str]:
        servers = [self.primary, self.standby]
        return {
            "POSTGRES_HOST": ",".join(server.host for server in servers),
            "POSTGRES_PORT": ",".join(str(server.port) for server in servers),
            "POSTGRES_USERNAME": self.primary.username,
        }


def _run(server: EmbeddedPostgres, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    target: dict[str, Any] = {"host": server.host, "port": server.port, "user": server.username}
    with psycopg.connect(**target, dbname="promo", autocommit=True) as connection:
        cursor = connection.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []
