"""Activations while everything around them fails: exact to the last use, and well again by itself."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import psycopg
import pytest
import redis

from tests.e2e.conftest import House
from tests.e2e.load import Rush

_HOUR_MS = 3_600_000
_ROUNDS = 3
_CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'promo' AND pid <> pg_backend_pid()"


@pytest.fixture
def rush(house: House) -> Iterator[Rush]:
    """A crowd that activates, and what must be true of it at the end."""
    rush = Rush(house.server)
    yield rush
    rush.assert_exact()
    assert "Traceback" not in house.server.log


def _kill_workers(house: House, rush: Rush) -> None:
    for _ in range(_ROUNDS):
        house.server.kill_worker()
        rush.await_successes()


def _restart_postgres(house: House, rush: Rush) -> None:
    house.postgres.stop()
    rush.await_status(503)
    house.postgres.start()
    rush.await_successes()


def _kill_postgres(house: House, rush: Rush) -> None:
    house.postgres.kill()
    rush.await_status(503)
    house.postgres.start()
    rush.await_successes()


def _cut_connections(house: House, rush: Rush) -> None:
    target = {"host": house.postgres.host, "port": house.postgres.port, "user": house.postgres.username}
    with psycopg.connect(**target, dbname="postgres", autocommit=True) as connection:
        for _ in range(_ROUNDS):
            assert connection.execute(_CUT).fetchall()
            rush.await_successes()


def _stop_redis(house: House, rush: Rush) -> None:
    house.valkey.stop()
    rush.await_successes()
    house.valkey.start()
    rush.await_successes()


def _kill_redis(house: House, rush: Rush) -> None:
    house.valkey.kill()
    rush.await_successes()
    house.valkey.start()
    rush.await_successes()


def _empty_redis(house: House, rush: Rush) -> None:
    with redis.Redis(house.valkey.host, house.valkey.port) as cache:
        for _ in range(_ROUNDS):
            cache.flushall()
            rush.await_successes()


def _freeze_redis(house: House, rush: Rush) -> None:
    with redis.Redis(house.valkey.host, house.valkey.port) as cache:
        process = psutil.Process(int(cache.info("server")["process_id"]))
    process.suspend()
    try:
        rush.await_successes(10)
    finally:
        process.resume()
    rush.await_successes()


def _stop_antifraud(house: House, rush: Rush) -> None:
    house.antifraud.stop()
    rush.await_status(403, 10)
    house.antifraud.start()


def _steer(refused: int = 10, **behaviour: Any) -> Callable[[House, Rush], None]:
    def fault(house: House, rush: Rush) -> None:
        house.steer(**behaviour)
        rush.await_status(403, refused)
        house.forget()

    return fault


_FAULTS: dict[str, Callable[[House, Rush], None]] = {
    "workers die": _kill_workers,
    "PostgreSQL restarts": _restart_postgres,
    "PostgreSQL dies": _kill_postgres,
    "connections are cut": _cut_connections,
    "Redis stops": _stop_redis,
    "Redis dies": _kill_redis,
    "Redis is emptied": _empty_redis,
    "Redis is frozen": _freeze_redis,
    "anti-fraud stops": _stop_antifraud,
    "anti-fraud fails": _steer(status=500),
    "anti-fraud answers garbage": _steer(body='{"ok": "yes"}'),
    "anti-fraud answers too late": _steer(2, delay_ms=60_000),
    "anti-fraud hangs up": _steer(disconnect=True),
    "anti-fraud refuses": _steer(ok=False),
}


@pytest.mark.parametrize("fault", _FAULTS)
def test_under_load(house: House, rush: Rush, fault: str) -> None:
    """While clients activate without a pause it happens, and passes; nothing is given twice, and nothing is lost."""
    with rush.going_on():
        _FAULTS[fault](house, rush)


def test_two_hundred_on_the_last_use(house: House) -> None:
    """Of two hundred clients at once, in two processes, one gets the last use."""
    people = house.server.people
    company, users = people.sign_up_company(), [people.sign_up_user() for _ in range(10)]
    promos = [company.create_promo(max_count=1), company.create_promo(promo_unique=["last-one"])]
    for promo_id in promos:
        with ThreadPoolExecutor(200) as threads:
            paths = [f"/user/promo/{promo_id}/activate"] * 200
            answers = list(threads.map(lambda n, path: users[n % 10].post(path), range(200), paths))
        assert sorted(answer.status_code for answer in answers) == [200] + [403] * 199
        assert company.get(f"/business/promo/{promo_id}").json()["used_count"] == 1
