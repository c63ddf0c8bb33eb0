"""Outages of PostgreSQL, Redis and the anti-fraud service, and the recovery from them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from promo_api.dev.processes import wait_until
from tests.accounts import Account, Api
from tests.e2e.environment import Environment
from tests.e2e.server import Server

_HOUR_MS = 3_600_000


def _sign_up(env: Environment) -> tuple[Account, Account, str]:
    accounts: Api = env.server.accounts
    company, user = accounts.sign_up_company(), accounts.sign_up_user()
    return company, user, f"/user/promo/{company.create_promo(promo_common='outage-value')}"


def _new_log(env: Environment) -> Callable[[], str]:
    """Return a function that returns the log from now on."""
    before = len(env.server.log)
    return lambda: env.server.log[before:]


def test_verdict_survives_a_restart(env: Environment) -> None:
    """A cached verdict is used by all workers, and after a restart of the API."""
    _, user, path = _sign_up(env)
    env.configure_antifraud(user_email=user.body["email"], cache_ms=_HOUR_MS)
    assert user.post(f"{path}/activate").status_code == 200
    env.server.restart()
    assert {user.post(f"{path}/activate").status_code for _ in range(6)} == {200}
    assert env.antifraud_calls(user.body["email"]) == 1


def test_negative_verdict_survives_a_restart(env: Environment) -> None:
    """A cached negative verdict applies to all promos, also after a restart."""
    company, user, path = _sign_up(env)
    env.configure_antifraud(user_email=user.body["email"], ok=False, cache_ms=_HOUR_MS)
    assert user.post(f"{path}/activate").status_code == 403
    env.server.restart()
    env.configure_antifraud(user_email=user.body["email"], ok=True)
    other = f"/user/promo/{company.create_promo()}"
    assert {user.post(f"{place}/activate").status_code for place in (path, other)} == {403}
    assert env.antifraud_calls(user.body["email"]) == 1


def test_verdict_survives_a_restart_of_redis(env: Environment) -> None:
    """After a restart of Redis, connections are replaced and cached verdicts are used."""
    _, user, path = _sign_up(env)
    env.configure_antifraud(user_email=user.body["email"], cache_ms=_HOUR_MS)
    assert user.post(f"{path}/activate").status_code == 200
    log = _new_log(env)
    env.valkey.stop()
    env.valkey.start()
    assert {user.post(f"{path}/activate").status_code for _ in range(6)} == {200}
    assert env.antifraud_calls(user.body["email"]) == 1
    assert "antifraud_cache_unavailable" not in log()


def test_redis_emptied(env: Environment) -> None:
    """Verdicts that Redis has lost are requested and cached again."""
    _, user, path = _sign_up(env)
    env.configure_antifraud(user_email=user.body["email"], cache_ms=_HOUR_MS)
    assert user.post(f"{path}/activate").status_code == 200
    with redis.Redis(env.valkey.host, env.valkey.port) as cache:
        cache.flushall()
    assert {user.post(f"{path}/activate").status_code for _ in range(4)} == {200}
    assert env.antifraud_calls(user.body["email"]) == 2


@pytest.mark.parametrize("action", ["stop", "kill"])
def test_redis_unavailable(env: Environment, action: str) -> None:
    """Without Redis activations work; each one calls the anti-fraud service, and a warning is logged."""
    _, user, path = _sign_up(env)
    env.configure_antifraud(user_email=user.body["email"], cache_ms=_HOUR_MS)
    assert user.post(f"{path}/activate").status_code == 200
    log = _new_log(env)
    getattr(env.valkey, action)()
    assert {user.post(f"{path}/activate").status_code for _ in range(3)} == {200}
    assert env.antifraud_calls(user.body["email"]) == 4
    assert '"level":"warning","event":"antifraud_cache_unavailable"' in log()
    assert "Traceback" not in log()
    env.configure_antifraud(user_email=user.body["email"], ok=False)
    assert user.post(f"{path}/activate").status_code == 403


def test_redis_available_again(env: Environment) -> None:
    """When Redis is available again, verdicts are cached again."""
    _, user, path = _sign_up(env)
    env.configure_antifraud(user_email=user.body["email"], cache_ms=_HOUR_MS)
    env.valkey.stop()
    assert user.post(f"{path}/activate").status_code == 200
    env.valkey.start()
    assert {user.post(f"{path}/activate").status_code for _ in range(4)} == {200}
    assert env.antifraud_calls(user.body["email"]) == 2


def test_antifraud_unavailable(env: Environment) -> None:
    """Without the anti-fraud service activations are refused, and all other operations work."""
    company, user, path = _sign_up(env)
    log = _new_log(env)
    env.antifraud.stop()
    refused = user.post(f"{path}/activate")
    assert (refused.status_code, refused.json()["code"]) == (403, "antifraud_unavailable")
    assert int(refused.headers["Retry-After"]) >= 1
    assert {user.post(f"{path}/like").status_code, user.get(path).status_code} == {200}
    assert company.get("/business/promo").status_code == 200
    assert env.server.accounts.sign_up_user().get("/user/feed").status_code == 200
    assert log().count("antifraud_no_response") == 2
    env.antifraud.start()
    assert user.post(f"{path}/activate").status_code == 200
    assert user.get("/user/promo/history").headers["X-Total-Count"] == "1"


def test_antifraud_slow(env: Environment, tmp_path: Path) -> None:
    """While more activations wait for the anti-fraud service than its limit, other requests succeed."""
    variables = env.variables | {"SERVER_WORKERS": "1", "ANTIFRAUD_THREADS": "3", "ANTIFRAUD_READ_TIMEOUT_S": "30"}
    with Server(variables, tmp_path) as server, ThreadPoolExecutor(6) as threads:
        company, users = server.accounts.sign_up_company(), [server.accounts.sign_up_user() for _ in range(6)]
        path = f"/user/promo/{company.create_promo()}"
        env.configure_antifraud(delay_ms=60_000)
        waiting = [threads.submit(user.post, f"{path}/activate") for user in users]
        assert wait_until(lambda: sum(env.antifraud_calls(user.body["email"]) for user in users) == 3, 10)
        assert {user.get("/user/feed").status_code for user in users} == {200}
        assert {user.post(f"{path}/like").status_code for user in users} == {200}
        assert not any(activation.done() for activation in waiting)
        env.reset_antifraud()
        assert [activation.result(30).status_code for activation in waiting] == [200] * 6


@pytest.mark.parametrize("action", ["stop", "kill"])
def test_postgresql_unavailable_and_available_again(env: Environment, action: str) -> None:
    """Without PostgreSQL requests get 503 with Retry-After, and ping 200. Afterwards requests succeed at once."""
    company, user, path = _sign_up(env)
    assert {user.get("/user/feed").status_code for _ in range(10)} == {200}
    getattr(env.postgres, action)()
    credentials = {name: user.body[name] for name in ("email", "password")}
    responses = [
        user.get("/user/profile"),
        user.post(f"{path}/activate"),
        company.get("/business/promo"),
        env.server.accounts.call("POST", "/user/auth/sign-in", json=credentials),
    ]
    for response in responses:
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) >= 1
        assert response.json()["status"] == "error"
    assert env.server.accounts.call("GET", "/ping").status_code == 200
    assert env.server.accounts.call("GET", "/user/profile").status_code == 401
    env.start_postgres()
    assert {user.get("/user/profile").status_code for _ in range(16)} == {200}
    assert user.post(f"{path}/activate").json() == {"promo": "outage-value"}


@pytest.mark.parametrize("action", ["stop", "kill"])
def test_postgresql_restarted(env: Environment, action: str) -> None:
    """After a restart of PostgreSQL between requests, closed connections are replaced and no request fails."""
    _, user, path = _sign_up(env)
    assert {user.get("/user/feed").status_code for _ in range(10)} == {200}
    getattr(env.postgres, action)()
    env.start_postgres()
    assert {user.get("/user/profile").status_code for _ in range(10)} == {200}
    assert user.post(f"{path}/activate").status_code == 200


def test_postgresql_starts_after_the_api(env: Environment) -> None:
    """The API can be started before PostgreSQL."""
    _, user, path = _sign_up(env)
    env.postgres.stop()
    env.server.restart()
    assert user.get("/user/profile").status_code == 503
    env.start_postgres()
    assert user.post(f"{path}/activate").status_code == 200


def test_stop_closes_postgresql_connections(env: Environment) -> None:
    """A stopped server leaves no connections to PostgreSQL."""
    _, user, _ = _sign_up(env)
    assert {user.get("/user/feed").status_code for _ in range(10)} == {200}
    assert env.connections() > 0
    assert env.server.end() == 0
    assert wait_until(lambda: env.connections() == 0, 10)
    env.server.start()
