"""The API with many threads and connections, so that a race has as many runners as it needs."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from promo_api import app as application
from promo_api.admission import Admission
from promo_api.app import create_app
from promo_api.batches import Batches
from promo_api.contract.fair_queue import Source
from promo_api.contract.thread_pools import Arrival
from promo_api.runtime import Runtime
from promo_api.settings import Settings
from tests.accounts import Api
from tests.conformance import Conformance
from tests.pgbouncer import limited
from tests.race.interleaving import Stage

_THREADS = 24
_HASHES = 8


class _Unfair(Admission):
    """Lets one account take all threads, so that a race needs only one."""

    def __call__(self, arrival: Arrival) -> Source:
        """Return where a request comes from."""
        return super().__call__(arrival)._replace(at_once=_THREADS)


@pytest.fixture(scope="package", autouse=True)
def _unfair() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(application, "Admission", _Unfair)
        yield


@pytest.fixture(scope="package")
def crowd(settings: Settings, runtime: Runtime) -> Iterator[Runtime]:
    """A runtime with a connection for each of its many threads; patient, since a race waits by intention.

    `runtime` is asked for since it brings the tables.
    """
    assert runtime.database
    patient = {f"postgres_{limit}_timeout_s": 30.0 for limit in ("pool", "statement", "lock", "idle_transaction")}
    crowd = Runtime.open(limited(replace(settings, server_threads=_THREADS, argon2_concurrency=_HASHES, **patient)))
    yield crowd
    crowd.close()


@pytest.fixture(scope="package")
def _crowd_client(crowd: Runtime) -> Iterator[TestClient]:
    with TestClient(create_app(crowd), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def api(_crowd_client: TestClient, conformance: Conformance) -> Api:
    """The API in this process, with many threads."""
    return Api(_crowd_client, conformance)


class _Apart(Batches):
    """Does the work for each item alone, as if each had come to a process of its own."""

    def do(self, key: Hashable, item: Any, work: Callable[[Sequence[Any]], Sequence[Any]]) -> Any:
        """Do the work for the item."""
        return super().do((key, id(item)), item, work)


@pytest.fixture(scope="package")
def _apart_client(crowd: Runtime) -> Iterator[TestClient]:
    apart = replace(Runtime.open(crowd.settings), batches=_Apart())
    with TestClient(create_app(apart), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def processes(_apart_client: TestClient, conformance: Conformance) -> Api:
    """The API as many processes offer it: no two requests are worked on together."""
    return Api(_apart_client, conformance)


@pytest.fixture
def stage(crowd: Runtime) -> Stage:
    """Where a test decides who goes first."""
    return Stage(crowd.database)
