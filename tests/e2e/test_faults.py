"""Activations while dependencies fail: counts remain exact, and the service recovers."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import psycopg
import pytest
import redis

from tests.e2e.environment import Environment
from tests.e2e.load import ActivationLoad

_HOUR_MS = 3_600_000
_ROUNDS = 3
_CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'promo' AND pid <> pg_backend_pid()"


@pytest.fixture
def load(env: Environment) -> Iterator[ActivationLoad]:
    """Clients that activate promos; at the end, all counts must be exact."""
    began = len(env.server.log)
    load = ActivationLoad(env.server)
    yield load
    load.assert_exact()
    assert env.server.tracebacks(began) == []


def _kill_workers(env: Environment, load: ActivationLoad) -> None:
    for _ in range(_ROUNDS):
        env.server.kill_worker()
        load.await_successes()


def _restart_postgres(env: Environment, load: ActivationLoad) -> None:
    env.postgres.stop()
    load.await_status(503)
    env.postgres.start()
    load.await_successes()


def _kill_postgres(env: Environment, load: ActivationLoad) -> None:
    env.postgres.kill()
    load.await_status(503)
    env.postgres.start()
    load.await_successes()


def _cut_connections(env: Environment, load: ActivationLoad) -> None:
    target = {"host": env.postgres.host, "port": env.postgres.port, "user": env.postgres.username}
    with psycopg.connect(**target, dbname="postgres", autocommit=True) as connection:
        for _ in range(_ROUNDS):
            assert connection.execute(_CUT).fetchall()
            load.await_successes()


def _stop_redis(env: Environment, load: ActivationLoad) -> None:
    env.valkey.stop()
    load.await_successes()
    env.valkey.start()
    load.await_successes()


def _kill_redis(env: Environment, load: ActivationLoad) -> None:
    env.valkey.kill()
    load.await_successes()
    env.valkey.start()
    load.await_successes()


def _empty_redis(env: Environment, load: ActivationLoad) -> None:
    with redis.Redis(env.valkey.host, env.valkey.port) as cache:
        for _ in range(_ROUNDS):
            cache.flushall()
            load.await_successes()


def _freeze_redis(env: Environment, load: ActivationLoad) -> None:
    with redis.Redis(env.valkey.host, env.valkey.port) as cache:
        process = psutil.Process(int(cache.info("server")["process_id"]))
    process.suspend()
    try:
        load.await_successes(10)
    finally:
        process.resume()
    load.await_successes()


def _stop_antifraud(env: Environment, load: ActivationLoad) -> None:
    env.antifraud.stop()
    load.await_status(403, 10)
    env.antifraud.start()


def _set_antifraud(refused: int = 10, **behaviour: Any) -> Callable[[Environment, ActivationLoad], None]:
    def fault(env: Environment, load: ActivationLoad) -> None:
        env.configure_antifraud(**behaviour)
        load.await_status(403, refused)
        env.reset_antifraud()

    return fault


_FAULTS: dict[str, Callable[[Environment, ActivationLoad], None]] = {
    "workers killed": _kill_workers,
    "PostgreSQL restarted": _restart_postgres,
    "PostgreSQL killed": _kill_postgres,
    "connections terminated": _cut_connections,
    "Redis restarted": _stop_redis,
    "Redis killed": _kill_redis,
    "Redis flushed": _empty_redis,
    "Redis unresponsive": _freeze_redis,
    "anti-fraud stopped": _stop_antifraud,
    "anti-fraud status 500": _set_antifraud(status=500),
    "anti-fraud invalid response": _set_antifraud(body='{"ok": "yes"}'),
    "anti-fraud timeout": _set_antifraud(2, delay_ms=60_000),
    "anti-fraud disconnects": _set_antifraud(disconnect=True),
    "anti-fraud negative verdict": _set_antifraud(ok=False),
}


@pytest.mark.parametrize("fault", _FAULTS)
def test_under_load(env: Environment, load: ActivationLoad, fault: str) -> None:
    """During a fault under load no code is issued twice and none is lost."""
    with load.running():
        _FAULTS[fault](env, load)


def test_two_hundred_on_the_last_use(env: Environment) -> None:
    """One of 200 concurrent clients, on two workers, gets the last activation."""
    accounts = env.server.accounts
    company, users = accounts.sign_up_company(), [accounts.sign_up_user() for _ in range(10)]
    promos = [company.create_promo(max_count=1), company.create_promo(promo_unique=["last-one"])]
    for promo_id in promos:
        with ThreadPoolExecutor(200) as threads:
            paths = [f"/user/promo/{promo_id}/activate"] * 200
            responses = list(threads.map(lambda n, path: users[n % 10].post(path), range(200), paths))
        assert sorted(response.status_code for response in responses) == [200] + [403] * 199
        assert company.get(f"/business/promo/{promo_id}").json()["used_count"] == 1
