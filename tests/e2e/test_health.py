"""Health, seen from a load balancer: what is away, how soon it is told, and that asking is in nobody's way."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from promo_api.sandbox.processes import wait_until
from tests.conformance import Conformance
from tests.e2e.conftest import House, assert_discreet
from tests.e2e.server import Server
from tests.sigstop import frozen

_TIMEOUT_S = 0.5
_SLACK_S = 3
_PATIENCE_S = 30


@pytest.fixture
def hasty(house: House, conformance: Conformance, tmp_path: Path) -> Iterator[Server]:
    """A server in the house that waits for what it needs for a short time, and has few threads."""
    few = {"HEALTH_TIMEOUT_S": str(_TIMEOUT_S), "SERVER_THREADS": "2", "ANTIFRAUD_BREAKER_FAILURES": "1"}
    with Server(house.environment | few, tmp_path, conformance) as server:
        yield server
    assert_discreet(server)


def _ask(server: Server) -> Any:
    return server.people.call("GET", "/health")


def _becomes(server: Server, status: str, states: str) -> None:
    """Wait until each of the workers says so, over connections of their own; the states as p(ostgres), r and a."""

    def said() -> bool:
        bodies = [_ask(server).json() for _ in range(10)]
        down = {
            "".join(name[0] for name, found in body["dependencies"].items() if found["state"] == "down")
            for body in bodies
        }
        return {body["status"] for body in bodies} == {status} and down == {states}

    assert wait_until(said, _PATIENCE_S), _ask(server).text


def _away(body: Any) -> str:
    return "".join(name[0] for name, found in body["dependencies"].items() if found["state"] == "down")


def _addresses(house: House) -> list[str]:
    return [str(house.postgres.host), str(house.valkey.port), str(house.antifraud.address), "127.0.0.1", "localhost"]


def test_all_comes_and_goes(house: House, hasty: Server) -> None:
    """Each thing that is away is named, without an address, and is well again when it is back."""
    _becomes(hasty, "ok", "")
    for part, status, letter, code in (
        (house.valkey, "degraded", "r", 200),
        (house.antifraud, "degraded", "a", 200),
        (house.postgres, "failing", "p", 503),
    ):
        part.stop()
        _becomes(hasty, status, letter)
        answer = _ask(hasty)
        assert answer.status_code == code
        assert answer.headers.get("Retry-After") == ("1" if code == 503 else None)
        assert not [address for address in _addresses(house) if address in answer.text]
        part.start()
        _becomes(hasty, "ok", "")


def test_open_breaker(house: House, hasty: Server) -> None:
    """A worker that has given up the anti-fraud service says so, though somebody listens there."""
    user = hasty.people.sign_up_user()
    path = f"/user/promo/{hasty.people.sign_up_company().create_promo()}/activate"
    house.steer(user_email=user.body["email"], status=500)
    with ThreadPoolExecutor(4) as threads:
        assert {answer.status_code for answer in threads.map(user.post, [path] * 8)} == {403}
    assert wait_until(lambda: "is not asked for a while" in _ask(hasty).text, _PATIENCE_S)
    assert _ask(hasty).status_code == 200


@contextmanager
def _suspended(house: House) -> Iterator[None]:
    """Have Redis stand still for the time of a block."""
    assert house.valkey._process is not None
    process = psutil.Process(house.valkey._process.pid)
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def test_redis_frozen(house: House, hasty: Server) -> None:
    """A Redis that stands still is away, and is not waited for longer than it is set."""
    with _suspended(house):
        _becomes(hasty, "degraded", "r")
        assert _ask(hasty).elapsed.total_seconds() < _TIMEOUT_S + _SLACK_S
    _becomes(hasty, "ok", "")


def test_postgresql_frozen(house: House, hasty: Server) -> None:
    """While PostgreSQL stands still, all who ask are told so in time, however many they are."""
    with frozen(house.postgres), ThreadPoolExecutor(24) as threads:
        answers = [*threads.map(lambda _: _ask(hasty), range(48))]
        # Who comes in the middle of a look waits for its end, and if that has become old for one of their own.
        assert max(answer.elapsed.total_seconds() for answer in answers) < 2 * _TIMEOUT_S + _SLACK_S
        assert {answer.status_code for answer in answers} == {503}
        _becomes(hasty, "failing", "p")
    _becomes(hasty, "ok", "")
    assert "Traceback" not in hasty.log


def test_nobody_waits_for_who_asks(house: House, conformance: Conformance, tmp_path: Path) -> None:
    """More requests for health than there are threads, all of which wait for PostgreSQL, keep no other one waiting."""
    patient = {"HEALTH_TIMEOUT_S": "10", "POSTGRES_CONNECT_TIMEOUT_S": "30"}
    lone = house.environment | patient | {"SERVER_WORKERS": "1", "SERVER_THREADS": "2"}
    with Server(lone, tmp_path, conformance) as server, ThreadPoolExecutor(12) as threads:
        with frozen(house.postgres):
            asked = [threads.submit(_ask, server) for _ in range(12)]
            assert {server.people.call("GET", "/ping").status_code for _ in range(20)} == {200}
            assert not [each for each in asked if each.done()]
        assert {each.result(_PATIENCE_S).status_code for each in asked} == {200}


def test_asking_takes_no_connections(house: House, hasty: Server) -> None:
    """However many ask, each worker has one connection to PostgreSQL for it."""
    before = house.connections()
    with ThreadPoolExecutor(24) as threads:
        assert {answer.status_code for answer in threads.map(lambda _: _ask(hasty), range(200))} == {200}
    # The sweepers may have made theirs only now.
    assert house.connections() - before <= 2 * 1 + 2 * 2 * 2
