"""The service without PostgreSQL, Redis and anti-fraud service, so operations that need the database return 503.

The running service of the end-to-end tests is here too, for tests over the network.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest
from starlette.types import ASGIApp

from promo_api.app import create_app
from promo_api.config.settings import Settings
from promo_api.contract.flask_views import run_wsgi
from promo_api.contract.thread_pool import PoolLimits, ThreadPool
from promo_api.runtime import Runtime
from tests.e2e.conftest import e2e_environment, server

__all__ = ["bare_runtime", "e2e_environment", "server", "service"]


@pytest.fixture(scope="session")
def bare_runtime() -> Iterator[Runtime]:
    """A runtime without servers. Its tokens are valid."""
    runtime = Runtime.open(
        Settings(
            antifraud_address="http://127.0.0.1:1",
            postgres_host="127.0.0.1",
            postgres_port=1,
            redis_port=1,
            secret_key="a key for tests " * 3,
            argon2_memory_kib=8,
            argon2_iterations=1,
        )
    )
    yield runtime
    runtime.close()


@pytest.fixture(scope="session")
def service(bare_runtime: Runtime) -> ASGIApp:
    """The application of api.yml, without servers."""
    return create_app(bare_runtime)


@pytest.fixture
def refusals() -> Counter[tuple[str, str]]:
    """The refusals of the pools of `make_pool`, by pool and reason."""
    return Counter()


@pytest.fixture
def make_pool(refusals: Counter[tuple[str, str]]) -> Iterator[Callable[..., ThreadPool]]:
    """Returns a function that creates pools, which are closed after the test."""
    with ExitStack() as stack:

        def make(wsgi: Callable[..., Iterable[bytes]], limits: PoolLimits) -> ThreadPool:
            pool = ThreadPool(
                "default", partial(run_wsgi, wsgi), limits, lambda name, reason: refusals.update([(name, reason)])
            )
            stack.callback(pool.close)
            return pool

        yield make
