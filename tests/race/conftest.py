"""The API with many threads and connections, for concurrent requests."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from promo_api import app as application
from promo_api.admission import Admission
from promo_api.app import create_app
from promo_api.coalescing import Coalescer
from promo_api.config.settings import Settings
from promo_api.contract.fair_queue import Source
from promo_api.contract.thread_pools import RequestInfo
from promo_api.runtime import Runtime
from tests.accounts import Api
from tests.pgbouncer import limited
from tests.race.interleaving import Stage

_THREADS = 24
_HASHES = 8
_LONG_TIMEOUTS = {f"postgres_{limit}_timeout_s": 30.0 for limit in ("pool", "statement", "lock", "idle_transaction")}


class _UnfairAdmission(Admission):
    """Lets one account use all threads, so that a test needs only one."""

    def __call__(self, request: RequestInfo) -> tuple[str, Source]:
        """Return the thread pool of a request, and its source."""
        pool, source = super().__call__(request)
        return pool, source._replace(at_once=_THREADS)


@pytest.fixture(scope="package", autouse=True)
def _unfair_admission() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(application, "Admission", _UnfairAdmission)
        yield


@pytest.fixture(scope="package")
def runtime(settings: Settings, runtime: Runtime) -> Iterator[Runtime]:
    """A runtime with a connection for each of its many threads, and long timeouts, because tests hold locks.

    It uses the schema that the fixture of the same name has created.
    """
    assert runtime.database
    many = replace(settings, server_threads=_THREADS, argon2_concurrency=_HASHES, **_LONG_TIMEOUTS)
    race_runtime = Runtime.open(limited(many))
    yield race_runtime
    race_runtime.close()


@pytest.fixture(scope="package")
def _race_client(runtime: Runtime) -> Iterator[TestClient]:
    with TestClient(create_app(runtime), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def api(_race_client: TestClient) -> Api:
    """The API in this process, with many threads."""
    return Api(_race_client)


class _Uncoalesced(Coalescer):
    """Processes each item alone, as if each request had reached another process."""

    def submit(self, key: Hashable, item: Any, process: Callable[[Sequence[Any]], Sequence[Any]]) -> Any:
        """Process the item."""
        return super().submit((key, id(item)), item, process)


@pytest.fixture(scope="package")
def _uncoalesced_client(runtime: Runtime) -> Iterator[TestClient]:
    uncoalesced = replace(Runtime.open(runtime.settings), coalescer=_Uncoalesced())
    with TestClient(create_app(uncoalesced), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def uncoalesced_api(_uncoalesced_client: TestClient) -> Api:
    """The API without coalescing: requests behave as if each had reached another process."""
    return Api(_uncoalesced_client)


@pytest.fixture
def stage(runtime: Runtime) -> Stage:
    """Holds locks, so that the test decides the order of requests."""
    return Stage(runtime.database)
