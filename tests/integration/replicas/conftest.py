"""A service with a replica, which all tests of the package share. A test that stops the replica starts it again."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from starlette.testclient import TestClient

from persistence.migrations import update_schema
from promo_api.app import create_app
from promo_api.circuit_breaker import CircuitBreaker
from promo_api.config.settings import Settings
from promo_api.runtime import Runtime
from tests.accounts import Account, Api
from tests.integration.replicas.replica_service import Service, read_settings
from tests.standby import Pair


@pytest.fixture(scope="package")
def _pair() -> Iterator[Pair]:
    # Not in tmp_path: another run of pytest makes it inaccessible to PostgreSQL's user.
    with TemporaryDirectory(prefix="promo-replica-", ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        pair = Pair(stack, Path(folder), synchronous=False)
        pair.on_standby("ALTER SYSTEM SET max_standby_streaming_delay = 0")
        pair.on_standby("ALTER SYSTEM SET wal_retrieve_retry_interval = '100ms'")
        pair.on_standby("SELECT pg_reload_conf()")
        yield pair


@pytest.fixture(scope="package")
def replica_settings(environment: dict[str, str], _pair: Pair) -> Settings:
    """The settings of a service with a replica."""
    return read_settings(environment, _pair)


@pytest.fixture(scope="package")
def _client(replica_settings: Settings) -> Iterator[tuple[Runtime, TestClient]]:
    runtime = Runtime.open(replica_settings)
    update_schema(runtime.database.engine)
    with TestClient(create_app(runtime), raise_server_exceptions=False) as client:
        yield runtime, client


@pytest.fixture
def service(_pair: Pair, _client: tuple[Runtime, TestClient]) -> Service:
    """The API on a primary and a replica that has replayed everything."""
    runtime, client = _client
    reads = runtime.replicas
    reads._breaker = CircuitBreaker(failures=1, cooldown_s=0, on_change=reads._on_breaker_change)
    return Service(_pair, runtime, Api(client))


@pytest.fixture
def company(service: Service) -> Account:
    """A company without promos."""
    return service.api.sign_up_company()


@pytest.fixture
def user(service: Service) -> Account:
    """A user without data."""
    return service.api.sign_up_user()
