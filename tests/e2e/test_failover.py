"""Failover under load: the primary PostgreSQL server is killed, and the standby is promoted."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import psycopg
import pytest

from promo_api.dev.postgres import EmbeddedPostgres
from promo_api.dev.postgres_programs import make_private_folder, run_program
from promo_api.dev.processes import wait_until
from tests.e2e.environment import assert_no_secrets
from tests.e2e.load import ActivationLoad
from tests.e2e.server import Server
from tests.pgbouncer import THROUGH_PGBOUNCER, PgBouncer

_TIMEOUT_S = 30
# Measured: 0.1 s, and 1.1 s through PgBouncer, which retries an unavailable server once a second.
_RECOVERY_MAX_S = 10


class Pair:
    """A primary with a synchronous standby.

    Attributes:
        environment: the settings of a service that uses the current primary.
    """

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.primary = stack.enter_context(EmbeddedPostgres(folder / "primary"))
        self.primary.create_database("promo")
        self._standby_folder = folder / "standby"
        make_private_folder(self._standby_folder)
        target = ["-h", self.primary.host, "-p", str(self.primary.port), "-U", self.primary.username]
        run_program("pg_basebackup", *target, "-D", str(self._standby_folder), "-R", "-c", "fast", timeout_s=_TIMEOUT_S)
        # The socket of the primary and its lock file are in the data folder, and the lock file is copied.
        (self._standby_folder / f".s.PGSQL.{self.primary.port}.lock").unlink()
        self.standby = stack.enter_context(EmbeddedPostgres(self._standby_folder))
        self._make_synchronous()
        self._pooler = stack.enter_context(PgBouncer(self.primary, folder / "pgbouncer")) if THROUGH_PGBOUNCER else None
        self.environment = self._pooler.environment if self._pooler else self._direct()
        self.environment |= {"POSTGRES_PASSWORD": "", "POSTGRES_DATABASE": "promo"}

    def promote(self) -> None:
        """Promote the standby, and wait until it is the primary."""
        run_program("pg_ctl", "-D", str(self._standby_folder), "-w", "promote", timeout_s=_TIMEOUT_S)
        if self._pooler:
            self._pooler.switch_to(self.standby)

    def _make_synchronous(self) -> None:
        target = {"host": self.primary.host, "port": self.primary.port, "user": self.primary.username}
        with psycopg.connect(**target, dbname="postgres", autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
            states = "SELECT sync_state FROM pg_stat_replication"
            assert wait_until(lambda: connection.execute(states).fetchall() == [("sync",)], _TIMEOUT_S)

    def _direct(self) -> dict[str, str]:
        servers = [self.primary, self.standby]
        return {
            "POSTGRES_HOST": ",".join(server.host for server in servers),
            "POSTGRES_PORT": ",".join(str(server.port) for server in servers),
            "POSTGRES_USERNAME": self.primary.username,
        }


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A running pair of servers."""
    # Not in tmp_path: another run of pytest makes it inaccessible to PostgreSQL's user.
    with TemporaryDirectory(prefix="promo-pair-", ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        yield Pair(stack, Path(folder))


def test_standby_takes_over(pair: Pair, environment: dict[str, str], tmp_path: Path) -> None:
    """Clients get 503 until the standby is promoted, and soon succeed afterwards. No confirmed activation is lost."""
    with Server(environment | pair.environment, tmp_path) as server:
        load = ActivationLoad(server)
        with load.running():
            pair.primary.kill()
            load.await_status(503)
            pair.promote()
            promoted = monotonic()
            load.await_successes(1)
            recovery_s = monotonic() - promoted
            load.await_successes()
        load.assert_exact()
        assert set(load.statuses) <= {200, 503}
        assert "Traceback" not in server.log
    assert_no_secrets(server)
    assert recovery_s < _RECOVERY_MAX_S
