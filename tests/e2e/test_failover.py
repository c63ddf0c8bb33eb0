"""The primary of two PostgreSQL servers dies while clients activate, and the standby takes its place."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import psycopg
import pytest

from promo_api.sandbox.postgres import EmbeddedPostgres, _make_private
from promo_api.sandbox.postgres_programs import run_program
from promo_api.sandbox.processes import wait_until
from tests.conformance import Conformance
from tests.e2e.conftest import assert_discreet
from tests.e2e.load import Rush
from tests.e2e.server import Server
from tests.pgbouncer import THROUGH_PGBOUNCER, PgBouncer

_PATIENCE_S = 30
# Measured: 0.1 s, and through PgBouncer, which tries a server that was away once a second, 1.1 s.
_BACK_WITHIN_S = 10


class Pair:
    """A primary, and a standby without which it acknowledges nothing.

    Attributes:
        environment: how a service reaches whichever of them takes writes.
    """

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.primary = stack.enter_context(EmbeddedPostgres(folder / "primary"))
        self.primary.create_database("promo")
        self._standby_folder = folder / "standby"
        _make_private(self._standby_folder)
        place = ["-h", self.primary.host, "-p", str(self.primary.port), "-U", self.primary.username]
        run_program("pg_basebackup", *place, "-D", str(self._standby_folder), "-R", "-c", "fast", timeout_s=_PATIENCE_S)
        # The socket of the primary lies in its data, and the mark of who has it is copied with them.
        (self._standby_folder / f".s.PGSQL.{self.primary.port}.lock").unlink()
        self.standby = stack.enter_context(EmbeddedPostgres(self._standby_folder))
        self._make_synchronous()
        self._pooler = stack.enter_context(PgBouncer(self.primary, folder / "pgbouncer")) if THROUGH_PGBOUNCER else None
        self.environment = self._pooler.environment if self._pooler else self._direct()
        self.environment |= {"POSTGRES_PASSWORD": "", "POSTGRES_DATABASE": "promo"}

    def promote(self) -> None:
        """Make the standby a primary, and wait until it is one."""
        run_program("pg_ctl", "-D", str(self._standby_folder), "-w", "promote", timeout_s=_PATIENCE_S)
        if self._pooler:
            self._pooler.lead_to(self.standby)

    def _make_synchronous(self) -> None:
        place = {"host": self.primary.host, "port": self.primary.port, "user": self.primary.username}
        with psycopg.connect(**place, dbname="postgres", autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
            states = "SELECT sync_state FROM pg_stat_replication"
            assert wait_until(lambda: connection.execute(states).fetchall() == [("sync",)], _PATIENCE_S)

    def _direct(self) -> dict[str, str]:
        servers = [self.primary, self.standby]
        return {
            "POSTGRES_HOST": ",".join(server.host for server in servers),
            "POSTGRES_PORT": ",".join(str(server.port) for server in servers),
            "POSTGRES_USERNAME": self.primary.username,
        }


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two servers of which one may die."""
    # Not within pytest's folder, which any other run of pytest closes to the user of PostgreSQL.
    with TemporaryDirectory(prefix="promo-pair-", ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        yield Pair(stack, Path(folder))


def test_standby_takes_over(pair: Pair, environment: dict[str, str], conformance: Conformance, tmp_path: Path) -> None:
    """Clients get 503 until the standby is promoted, and are served soon after; nothing that was answered is lost."""
    with Server(environment | pair.environment, tmp_path, conformance) as server:
        rush = Rush(server)
        with rush.going_on():
            pair.primary.kill()
            rush.await_status(503)
            pair.promote()
            promoted = monotonic()
            rush.await_successes(1)
            back_s = monotonic() - promoted
            rush.await_successes()
        rush.assert_exact()
        assert set(rush.statuses) <= {200, 503}
        assert "Traceback" not in server.log
    assert_discreet(server)
    assert back_s < _BACK_WITHIN_S
