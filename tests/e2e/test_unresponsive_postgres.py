"""PostgreSQL freezes or cuts its connections under load: each request gets a response, and the service recovers."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from persistence.database.engine import Database
from promo_api.config.settings import Settings
from promo_api.dev.processes import wait_until
from tests.e2e.environment import Environment, assert_no_secrets
from tests.e2e.load_app import MixedLoad, TimedResponse
from tests.e2e.server import Server
from tests.race.consistency import Counts, recounted
from tests.sigstop import frozen

# More clients than the threads of both workers.
_THREADS, _CLIENTS = 3, 12
_SHORT_TIMEOUTS = {
    "SERVER_THREADS": str(_THREADS),
    "POSTGRES_POOL_TIMEOUT_S": "1",
    "POSTGRES_CONNECT_TIMEOUT_S": "2",
    "POSTGRES_STATEMENT_TIMEOUT_S": "1",
}
# A request takes at most the time of a connection or a response; twice that if it waited for a thread or is the probe.
_BOUND_S = 2 * max(2, 1 + 1)
# A busy machine may add this much.
_SLACK_S = 3
_SUCCESS = (200, 201)


@pytest.fixture
def server(env: Environment, tmp_path: Path) -> Iterator[Server]:
    """A server with short timeouts for PostgreSQL."""
    with Server(env.variables | _SHORT_TIMEOUTS, tmp_path) as server:
        yield server
    assert_no_secrets(server)


@pytest.fixture
def promo_id(server: Server) -> str:
    """A promo with enough uses for all."""
    return server.accounts.sign_up_company().create_promo(max_count=1_000_000)


@pytest.fixture
def load(server: Server, promo_id: str) -> MixedLoad:
    """More clients than the server has threads."""
    return MixedLoad([server.accounts.sign_up_user() for _ in range(_CLIENTS)], promo_id)


def _assert_responses(responses: list[TimedResponse]) -> None:
    for response in responses:
        assert response.status in (*_SUCCESS, 503)
        assert response.status in _SUCCESS or response.retry_after == "1"
        assert response.seconds < _BOUND_S + _SLACK_S


def _final_counts(env: Environment, server: Server, promo_id: str) -> Counts:
    """Stop the servers, wait until PostgreSQL has finished their statements, and recount."""
    assert (server.end(), env.server.end()) == (0, 0)
    assert wait_until(lambda: env.connections() == 0, 20)
    database = Database(Settings.from_environment(env.variables))
    try:
        return recounted(database, promo_id)
    finally:
        database.close()
        env.server.start()


def _assert_counted(counts: Counts, load: MixedLoad) -> None:
    """Assert that every success is stored. A request that got 503 may or may not have taken effect."""
    for stored, action in ((counts.uses, "activate"), (counts.comments, "comment")):
        assert load.count(action, *_SUCCESS) <= stored <= load.count(action, *_SUCCESS, 503)


def test_frozen(env: Environment, server: Server, load: MixedLoad, promo_id: str) -> None:
    """While PostgreSQL is frozen each request fails in time, and ping is fast. Afterwards the service recovers."""
    workers = {worker.pid for worker in server.workers()}
    with load.running():
        load.wait_for(3, *_SUCCESS)
        with frozen(env.postgres):
            load.wait_for(3, 503)
            pings = [server.accounts.call("GET", "/ping") for _ in range(20)]
        load.wait_for(10, *_SUCCESS)
    assert {ping.status_code for ping in pings} == {200}
    assert max(ping.elapsed.total_seconds() for ping in pings) < 1
    _assert_responses(load.all())
    assert {user[-1].status for user in load.responses} <= {*_SUCCESS}
    assert {worker.pid for worker in server.workers()} == workers
    assert server.tracebacks() == []
    _assert_counted(_final_counts(env, server, promo_id), load)


def test_connections_cut(env: Environment, server: Server, load: MixedLoad, promo_id: str) -> None:
    """If PostgreSQL repeatedly cuts all connections under load, requests succeed or get 503."""
    target = {"host": env.postgres.host, "port": env.postgres.port, "user": env.postgres.username}
    cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'promo'"
    with psycopg.connect(**target, dbname="postgres", autocommit=True) as administrator, load.running():
        for _ in range(5):
            load.wait_for(2, *_SUCCESS)
            [(number,)] = administrator.execute(cut).fetchall()
            assert number > 0
        load.wait_for(10, *_SUCCESS)
    _assert_responses(load.all())
    assert {user[-1].status for user in load.responses} <= {*_SUCCESS}
    assert server.tracebacks() == []
    _assert_counted(_final_counts(env, server, promo_id), load)
