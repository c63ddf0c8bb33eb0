"""A PostgreSQL that says nothing, or cuts its connections, while many ask: all are answered, and all comes back."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from persistence.engine import Database
from promo_api.sandbox.processes import wait_until
from promo_api.settings import Settings
from tests.conformance import Conformance
from tests.e2e.conftest import House, assert_discreet
from tests.e2e.load_app import Answer, Crowd
from tests.e2e.server import Server
from tests.race.recount import Counts, recounted
from tests.sigstop import frozen

# More clients than both workers have threads.
_THREADS, _CLIENTS = 3, 12
_HASTY = {
    "SERVER_THREADS": str(_THREADS),
    "POSTGRES_POOL_TIMEOUT_S": "1",
    "POSTGRES_CONNECT_TIMEOUT_S": "2",
    "POSTGRES_STATEMENT_TIMEOUT_S": "1",
}
# A request waits as long as a connection or an answer may take; one that has to wait for a thread before, or finds that
# it is the one that listens, twice as long.
_BOUND_S = 2 * max(2, 1 + 1)
# What a busy machine may add.
_SLACK_S = 3
_WELL = (200, 201)


@pytest.fixture
def hasty(house: House, conformance: Conformance, tmp_path: Path) -> Iterator[Server]:
    """A server in the house that waits for PostgreSQL for a short time only."""
    with Server(house.environment | _HASTY, tmp_path, conformance) as server:
        yield server
    assert_discreet(server)


@pytest.fixture
def promo_id(hasty: Server) -> str:
    """A promo with a use for everyone."""
    return hasty.people.sign_up_company().create_promo(max_count=1_000_000)


@pytest.fixture
def crowd(hasty: Server, promo_id: str) -> Crowd:
    """More clients than the server has threads."""
    return Crowd([hasty.people.sign_up_user() for _ in range(_CLIENTS)], promo_id)


def _assert_told(answers: list[Answer]) -> None:
    for answer in answers:
        assert answer.status in (*_WELL, 503)
        assert answer.status in _WELL or answer.retry_after == "1"
        assert answer.seconds < _BOUND_S + _SLACK_S


def _counts_at_the_end(house: House, hasty: Server, promo_id: str) -> Counts:
    """End the servers, wait until PostgreSQL has done what they had asked of it, and recount."""
    assert (hasty.end(), house.server.end()) == (0, 0)
    assert wait_until(lambda: house.connections() == 0, 20)
    database = Database(Settings.from_environment(house.environment))
    try:
        return recounted(database, promo_id)
    finally:
        database.close()
        house.server.start()


def _assert_counted(counts: Counts, crowd: Crowd) -> None:
    """Assert that what was promised is recorded; of what was answered with 503 nobody knows."""
    for counted, doing in ((counts.uses, "activate"), (counts.comments, "comment")):
        assert crowd.count(doing, *_WELL) <= counted <= crowd.count(doing, *_WELL, 503)


def test_frozen(house: House, hasty: Server, crowd: Crowd, promo_id: str) -> None:
    """While PostgreSQL stands still each request is told so in time, and ping is quick; then all goes on by itself."""
    workers = {worker.pid for worker in hasty.workers()}
    with crowd.running():
        crowd.wait_for(3, *_WELL)
        with frozen(house.postgres):
            crowd.wait_for(3, 503)
            pings = [hasty.people.call("GET", "/ping") for _ in range(20)]
        crowd.wait_for(10, *_WELL)
    assert {ping.status_code for ping in pings} == {200}
    assert max(ping.elapsed.total_seconds() for ping in pings) < 1
    _assert_told(crowd.all())
    assert {user[-1].status for user in crowd.answers} <= {*_WELL}
    assert {worker.pid for worker in hasty.workers()} == workers
    assert "Traceback" not in hasty.log
    _assert_counted(_counts_at_the_end(house, hasty, promo_id), crowd)


def test_connections_cut(house: House, hasty: Server, crowd: Crowd, promo_id: str) -> None:
    """When PostgreSQL cuts all connections under load, again and again, requests fail with 503 or not at all."""
    target = {"host": house.postgres.host, "port": house.postgres.port, "user": house.postgres.username}
    cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'promo'"
    with psycopg.connect(**target, dbname="postgres", autocommit=True) as administrator, crowd.running():
        for _ in range(5):
            crowd.wait_for(2, *_WELL)
            [(number,)] = administrator.execute(cut).fetchall()
            assert number > 0
        crowd.wait_for(10, *_WELL)
    _assert_told(crowd.all())
    assert {user[-1].status for user in crowd.answers} <= {*_WELL}
    assert "Traceback" not in hasty.log
    _assert_counted(_counts_at_the_end(house, hasty, promo_id), crowd)
