"""Outages: what works without one of the servers, what is refused, and how all of it comes back by itself."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from promo_api.sandbox.processes import wait_until
from tests.accounts import Account, Api
from tests.conformance import Conformance
from tests.e2e.conftest import House
from tests.e2e.server import Server

_HOUR_MS = 3_600_000


def _people(house: House) -> tuple[Account, Account, str]:
    people: Api = house.server.people
    company, user = people.sign_up_company(), people.sign_up_user()
    return company, user, f"/user/promo/{company.create_promo(promo_common='outage-value')}"


def _new_log(house: House) -> Callable[[], str]:
    """Return a function that returns what the server has written from now on."""
    before = len(house.server.log)
    return lambda: house.server.log[before:]


def test_verdict_is_kept_over_a_restart(house: House) -> None:
    """A verdict that holds for an hour is not asked for again, by no worker and not after a restart of the API."""
    _, user, path = _people(house)
    house.steer(user_email=user.body["email"], cache_ms=_HOUR_MS)
    assert user.post(f"{path}/activate").status_code == 200
    house.server.restart()
    assert {user.post(f"{path}/activate").status_code for _ in range(6)} == {200}
    assert house.calls(user.body["email"]) == 1


def test_refusal_is_kept_over_a_restart(house: House) -> None:
    """So is a verdict that says no, on every promo, even when the service has changed its mind."""
    company, user, path = _people(house)
    house.steer(user_email=user.body["email"], ok=False, cache_ms=_HOUR_MS)
    assert user.post(f"{path}/activate").status_code == 403
    house.server.restart()
    house.steer(user_email=user.body["email"], ok=True)
    other = f"/user/promo/{company.create_promo()}"
    assert {user.post(f"{place}/activate").status_code for place in (path, other)} == {403}
    assert house.calls(user.body["email"]) == 1


def test_verdict_is_kept_over_a_restart_of_redis(house: House) -> None:
    """Connections that a restart of Redis has closed are replaced, and what it kept still holds."""
    _, user, path = _people(house)
    house.steer(user_email=user.body["email"], cache_ms=_HOUR_MS)
    assert user.post(f"{path}/activate").status_code == 200
    log = _new_log(house)
    house.valkey.stop()
    house.valkey.start()
    assert {user.post(f"{path}/activate").status_code for _ in range(6)} == {200}
    assert house.calls(user.body["email"]) == 1
    assert "antifraud_cache_unavailable" not in log()


def test_redis_emptied(house: House) -> None:
    """Verdicts that Redis has lost are asked for once more, and kept again."""
    _, user, path = _people(house)
    house.steer(user_email=user.body["email"], cache_ms=_HOUR_MS)
    assert user.post(f"{path}/activate").status_code == 200
    with redis.Redis(house.valkey.host, house.valkey.port) as cache:
        cache.flushall()
    assert {user.post(f"{path}/activate").status_code for _ in range(4)} == {200}
    assert house.calls(user.body["email"]) == 2


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_redis_away(house: House, how: str) -> None:
    """Without Redis users activate as ever; the service is asked each time, and the log warns."""
    _, user, path = _people(house)
    house.steer(user_email=user.body["email"], cache_ms=_HOUR_MS)
    assert user.post(f"{path}/activate").status_code == 200
    log = _new_log(house)
    getattr(house.valkey, how)()
    assert {user.post(f"{path}/activate").status_code for _ in range(3)} == {200}
    assert house.calls(user.body["email"]) == 4
    assert '"level":"warning","event":"antifraud_cache_unavailable"' in log()
    assert "Traceback" not in log()
    house.steer(user_email=user.body["email"], ok=False)
    assert user.post(f"{path}/activate").status_code == 403


def test_redis_comes_back(house: House) -> None:
    """When Redis is back, verdicts are kept again without a restart of the API."""
    _, user, path = _people(house)
    house.steer(user_email=user.body["email"], cache_ms=_HOUR_MS)
    house.valkey.stop()
    assert user.post(f"{path}/activate").status_code == 200
    house.valkey.start()
    assert {user.post(f"{path}/activate").status_code for _ in range(4)} == {200}
    assert house.calls(user.body["email"]) == 2


def test_antifraud_away(house: House) -> None:
    """Without the anti-fraud service nobody activates, and everything else goes on; with it, all is as before."""
    company, user, path = _people(house)
    log = _new_log(house)
    house.antifraud.stop()
    refused = user.post(f"{path}/activate")
    assert refused.status_code == 403
    assert "anti-fraud" in refused.json()["message"]
    assert {user.post(f"{path}/like").status_code, user.get(path).status_code} == {200}
    assert company.get("/business/promo").status_code == 200
    assert house.server.people.sign_up_user().get("/user/feed").status_code == 200
    assert log().count("antifraud_no_answer") == 2
    house.antifraud.start()
    assert user.post(f"{path}/activate").status_code == 200
    assert user.get("/user/promo/history").headers["X-Total-Count"] == "1"


def test_antifraud_slow(house: House, tmp_path: Path, conformance: Conformance) -> None:
    """While the anti-fraud service keeps more users waiting than it may at once, all else is answered."""
    lone = house.environment | {"SERVER_WORKERS": "1", "ANTIFRAUD_THREADS": "3", "ANTIFRAUD_READ_TIMEOUT_S": "30"}
    with Server(lone, tmp_path, conformance) as server, ThreadPoolExecutor(6) as threads:
        company, users = server.people.sign_up_company(), [server.people.sign_up_user() for _ in range(6)]
        path = f"/user/promo/{company.create_promo()}"
        house.steer(delay_ms=60_000)
        held = [threads.submit(user.post, f"{path}/activate") for user in users]
        assert wait_until(lambda: sum(house.calls(user.body["email"]) for user in users) == 3, 10)
        assert {user.get("/user/feed").status_code for user in users} == {200}
        assert {user.post(f"{path}/like").status_code for user in users} == {200}
        assert not any(activation.done() for activation in held)
        house.forget()
        assert [activation.result(30).status_code for activation in held] == [200] * 6


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_postgresql_away_and_back(house: House, how: str) -> None:
    """Without PostgreSQL requests get 503, with the time to try again, and ping 200; with it, they succeed at once."""
    company, user, path = _people(house)
    assert {user.get("/user/feed").status_code for _ in range(10)} == {200}
    getattr(house.postgres, how)()
    credentials = {name: user.body[name] for name in ("email", "password")}
    answers = [
        user.get("/user/profile"),
        user.post(f"{path}/activate"),
        company.get("/business/promo"),
        house.server.people.call("POST", "/user/auth/sign-in", json=credentials),
    ]
    for answer in answers:
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.json()["status"] == "error"
    assert house.server.people.call("GET", "/ping").status_code == 200
    assert house.server.people.call("GET", "/user/profile").status_code == 401
    house.start_postgres()
    assert {user.get("/user/profile").status_code for _ in range(16)} == {200}
    assert user.post(f"{path}/activate").json() == {"promo": "outage-value"}


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_postgresql_restarted(house: House, how: str) -> None:
    """A restart of PostgreSQL while nobody asks costs no request: the connections that it closed are replaced."""
    _, user, path = _people(house)
    assert {user.get("/user/feed").status_code for _ in range(10)} == {200}
    getattr(house.postgres, how)()
    house.start_postgres()
    assert {user.get("/user/profile").status_code for _ in range(10)} == {200}
    assert user.post(f"{path}/activate").status_code == 200


def test_postgresql_starts_after_the_api(house: House) -> None:
    """The API may be started before PostgreSQL, and serves as soon as that is there."""
    _, user, path = _people(house)
    house.postgres.stop()
    house.server.restart()
    assert user.get("/user/profile").status_code == 503
    house.start_postgres()
    assert user.post(f"{path}/activate").status_code == 200


def test_connections_of_postgresql_are_not_left(house: House) -> None:
    """A server that has ended has closed its connections to PostgreSQL."""
    _, user, _ = _people(house)
    assert {user.get("/user/feed").status_code for _ in range(10)} == {200}
    assert house.connections() > 0
    assert house.server.end() == 0
    assert wait_until(lambda: house.connections() == 0, 10)
    house.server.start()
