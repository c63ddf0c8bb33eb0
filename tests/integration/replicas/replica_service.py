"""The API on a primary and a replica."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast
from uuid import uuid4

from starlette.testclient import TestClient

from promo_api.config.settings import Settings
from promo_api.dev.processes import wait_until
from promo_api.replicas import LagLimit
from promo_api.runtime import Runtime
from promo_api.telemetry.replica_metrics import RESULTS
from tests.accounts import Api
from tests.metric_delta import MetricDelta
from tests.pgbouncer import THROUGH_PGBOUNCER
from tests.standby import Pair

TIMEOUT_S = 30
NO_CLIENT = cast("TestClient", None)


class Time:
    """The monotonic clock of the limit of the lag."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


class Service:
    """The API on a primary and a replica."""

    def __init__(self, pair: Pair, runtime: Runtime, api: Api) -> None:
        self.pair, self.runtime, self.api = pair, runtime, api
        self.time = Time()
        self.settle()

    def settle(self) -> None:
        """Wait until the replica has everything and is used; from then on, no time passes for the limit of the lag."""
        self.runtime.replicas._lag_limit = LagLimit(self.time)
        assert wait_until(lambda: self.result_of(self.read) == "replica", TIMEOUT_S)
        self.pair.catch_up()

    @contextmanager
    def paused_replay(self) -> Iterator[None]:
        """Let the replica replay nothing during a block."""
        self.pair.on_standby("SELECT pg_wal_replay_pause()")
        paused = "SELECT pg_get_wal_replay_pause_state() = 'paused'"
        assert wait_until(lambda: self.pair.on_standby(paused) == [(True,)], TIMEOUT_S)
        try:
            yield
        finally:
            self.pair.on_standby("SELECT pg_wal_replay_resume()")

    def result_of(self, action: Callable[[], object]) -> str:
        """Return where the one read of an action was served: a label of the metric."""
        counted = MetricDelta()
        action()
        counts = {result: counted("promo_replica_reads_total", result=result) for result in RESULTS}
        assert sum(counts.values()) == 1, counts
        return max(counts, key=counts.__getitem__)

    def read(self) -> None:
        """Read as an account that has not written."""
        self.runtime.replicas.read(uuid4(), lambda _connection: None)


def assert_success(response: Any) -> None:
    """Assert that a request succeeded."""
    assert response.is_success, response.text


def read_settings(environment: dict[str, str], pair: Pair) -> Settings:
    """Return the settings of a service that reads the standby of a pair."""
    primary, standby = pair.primary, pair.standby
    direct = {} if THROUGH_PGBOUNCER else {"POSTGRES_HOST": primary.host, "POSTGRES_PORT": str(primary.port)}
    of_replica = {"POSTGRES_READ_HOST": standby.host, "POSTGRES_READ_PORT": str(standby.port)}
    return Settings.from_environment(environment | pair.environment | direct | of_replica)
