"""Health as a load balancer sees it: outages, time limits, and no effect on other requests."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from promo_api.dev.processes import wait_until
from tests.e2e.environment import Environment, assert_no_secrets
from tests.e2e.server import Server
from tests.sigstop import frozen

_TIMEOUT_S = 0.5
_SLACK_S = 3
_WAIT_S = 30
# A check that takes longer does not return an earlier report.
_CACHED_S = 0.5


@pytest.fixture
def server(env: Environment, tmp_path: Path) -> Iterator[Server]:
    """A server with short timeouts and few threads."""
    few = {"HEALTH_TIMEOUT_S": str(_TIMEOUT_S), "SERVER_THREADS": "2", "ANTIFRAUD_BREAKER_FAILURES": "1"}
    with Server(env.variables | few, tmp_path) as server:
        yield server
    assert_no_secrets(server)


def _get_health(server: Server) -> Any:
    return server.accounts.call("GET", "/health")


def _initials_of_down(body: Any) -> str:
    return "".join(name[0] for name, report in body["dependencies"].items() if report["state"] == "down")


def _wait_for_health(server: Server, status: str, states: str) -> None:
    """Wait until all workers report the status. `states`: the initials of the dependencies that are down."""

    def is_reported() -> bool:
        bodies = [_get_health(server).json() for _ in range(10)]
        return {(body["status"], _initials_of_down(body)) for body in bodies} == {(status, states)}

    assert wait_until(is_reported, _WAIT_S), _get_health(server).text


def _addresses(env: Environment) -> list[str]:
    return [str(env.postgres.host), str(env.valkey.port), str(env.antifraud.address), "127.0.0.1", "localhost"]


def test_outages(env: Environment, server: Server) -> None:
    """A stopped dependency is reported as down, without its address, and as up once it runs again."""
    _wait_for_health(server, "ok", "")
    for part, status, letter, code in (
        (env.valkey, "degraded", "r", 200),
        (env.antifraud, "degraded", "a", 200),
        (env.postgres, "failing", "p", 503),
    ):
        part.stop()
        _wait_for_health(server, status, letter)
        response = _get_health(server)
        assert response.status_code == code
        assert response.headers.get("Retry-After") == ("1" if code == 503 else None)
        assert not [address for address in _addresses(env) if address in response.text]
        part.start()
        _wait_for_health(server, "ok", "")


def test_open_breaker(env: Environment, server: Server) -> None:
    """A worker with an open circuit breaker reports the anti-fraud service as down, although it accepts connections."""
    user = server.accounts.sign_up_user()
    path = f"/user/promo/{server.accounts.sign_up_company().create_promo()}/activate"
    env.configure_antifraud(user_email=user.body["email"], status=500)
    with ThreadPoolExecutor(4) as threads:
        assert {response.status_code for response in threads.map(user.post, [path] * 8)} == {403}
    assert wait_until(lambda: "circuit breaker is open" in _get_health(server).text, _WAIT_S)
    assert _get_health(server).status_code == 200


@contextmanager
def _suspended(env: Environment) -> Iterator[None]:
    """Freeze Redis within a block."""
    assert env.valkey._process is not None
    process = psutil.Process(env.valkey._process.pid)
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def test_redis_frozen(env: Environment, server: Server) -> None:
    """A frozen Redis is down, and the report is in time."""
    with _suspended(env):
        _wait_for_health(server, "degraded", "r")
        assert _get_health(server).elapsed.total_seconds() < _TIMEOUT_S + _SLACK_S
    _wait_for_health(server, "ok", "")


def test_postgresql_frozen(env: Environment, server: Server) -> None:
    """While PostgreSQL is frozen, all of many concurrent requests get their report in time."""
    with frozen(env.postgres), ThreadPoolExecutor(24) as threads:
        _wait_for_health(server, "failing", "p")
        responses = [*threads.map(lambda _: _get_health(server), range(48))]
        # A request during a check waits for its end, and for one more check if the report expired meanwhile.
        assert max(response.elapsed.total_seconds() for response in responses) < 2 * _TIMEOUT_S + _SLACK_S
        assert {response.status_code for response in responses} == {503}
        _wait_for_health(server, "failing", "p")
    _wait_for_health(server, "ok", "")
    assert server.tracebacks() == []


def test_health_does_not_block_other_requests(env: Environment, tmp_path: Path) -> None:
    """More health requests than threads, all waiting for PostgreSQL, do not delay other requests."""
    long_timeouts = {"HEALTH_TIMEOUT_S": "10", "POSTGRES_CONNECT_TIMEOUT_S": "30"}
    variables = env.variables | long_timeouts | {"SERVER_WORKERS": "1", "SERVER_THREADS": "2"}
    with Server(variables, tmp_path) as server, ThreadPoolExecutor(12) as threads:
        with frozen(env.postgres):
            # The report of an earlier check is returned for a second.
            assert wait_until(lambda: bool(wait([threads.submit(_get_health, server)], _CACHED_S).not_done), _WAIT_S)
            checks = [threads.submit(_get_health, server) for _ in range(12)]
            assert {server.accounts.call("GET", "/ping").status_code for _ in range(20)} == {200}
            assert not [each for each in checks if each.done()]
        assert {each.result(_WAIT_S).status_code for each in checks} == {200}


def test_one_connection_per_worker(env: Environment, server: Server) -> None:
    """Each worker checks PostgreSQL on one connection, for any number of requests."""
    # Other connections end with other statements; other servers may have such connections too.
    checks = partial(env.connections, last_statement="SHOW transaction_read_only%")
    before = checks()
    with ThreadPoolExecutor(24) as threads:
        assert {response.status_code for response in threads.map(lambda _: _get_health(server), range(200))} == {200}
    assert checks() >= 1
    assert checks() - before <= 2
