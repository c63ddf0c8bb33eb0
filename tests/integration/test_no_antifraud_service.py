"""ANTIFRAUD_ADDRESS=none: activations are allowed without a check, and everything else about them stays."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import redis
from starlette.testclient import TestClient

from promo_api.antifraud import checks
from promo_api.antifraud.client import Verdict
from promo_api.antifraud.verdict_cache import Lease, VerdictCache, verdict_key
from promo_api.app import create_app
from promo_api.config.settings import Settings
from promo_api.config.values import Rate
from promo_api.dev.processes import wait_until
from promo_api.redis_client import RedisClient
from promo_api.runtime import Runtime
from tests.accounts import PASSWORD, Account, Api
from tests.antifraud_control import AntifraudControl
from tests.metric_delta import MetricDelta
from tests.race.interleaving import together


def _forbidden(*_arguments: Any) -> None:
    raise AssertionError("There is no anti-fraud service to call.")


@pytest.fixture
def unchecked(settings: Settings, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """The API of a process without an anti-fraud service, in which a user may activate 20 times."""
    assert runtime.database
    monkeypatch.setattr(checks, "AntifraudClient", _forbidden)
    monkeypatch.setattr(checks, "CircuitBreaker", _forbidden)
    opened = Runtime.open(replace(settings, antifraud_address=None, activations_per_user=Rate(20, 60)))
    with TestClient(create_app(opened), raise_server_exceptions=False) as client:
        yield Api(client)


def _activate(user: Account, promo_id: str, api: Api | None = None) -> int:
    response = (api or user.api).call("POST", f"/user/promo/{promo_id}/activate", token=user.token)
    return int(response.status_code)


def _lookups(delta: MetricDelta) -> float:
    return sum(
        delta("promo_antifraud_verdict_lookups_total", result=each) for each in ("yes", "no", "none", "unavailable")
    )


def _cache_refusal(settings: Settings, runtime: Runtime, user: Account) -> str:
    """Cache a negative verdict, and return its Redis key."""
    claims = runtime.tokens.read(user.token, "user")
    assert claims is not None
    verdicts = VerdictCache(settings)
    verdicts.release(Lease(claims.account_id), Verdict(ok=False, valid_until=datetime.now(UTC) + timedelta(hours=1)))
    verdicts.close()
    return verdict_key(claims.account_id)


def test_activation(unchecked: Api, antifraud_control: AntifraudControl) -> None:
    """An activation is allowed without a call, also for a user whom the service would refuse."""
    user, promo_id = unchecked.sign_up_user(), unchecked.sign_up_company().create_promo()
    antifraud_control.set_behaviour(user, ok=False)
    delta = MetricDelta()
    assert _activate(user, promo_id) == 200
    assert antifraud_control.count_calls(user) == 0
    assert delta("promo_activations_total", outcome="granted", reason="none") == 1
    assert _lookups(delta) == 0


def test_cached_refusal(api: Api, unchecked: Api, settings: Settings, runtime: Runtime) -> None:
    """A cached refusal does not count, but stays for processes with an anti-fraud service."""
    user, promo_id = unchecked.sign_up_user(), unchecked.sign_up_company().create_promo()
    _cache_refusal(settings, runtime, user)
    assert _activate(user, promo_id) == 200
    assert user.get(f"/user/promo/{promo_id}/eligibility").json() == {"eligible": True, "reasons": []}
    assert _activate(user, promo_id, api) == 403


def test_redis_round_trip(unchecked: Api, sent_to_redis: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An activation takes one round trip to Redis, which reads no verdict."""
    user, promo_id = unchecked.sign_up_user(), unchecked.sign_up_company().create_promo()
    used: list[Sequence[str]] = []
    run = RedisClient.run
    monkeypatch.setattr(
        RedisClient, "run", lambda self, script, keys, *rest: (used.append(keys), run(self, script, keys, *rest))[1]
    )
    _activate(user, promo_id)
    del sent_to_redis[:], used[:]
    assert _activate(user, promo_id) == 200
    assert sent_to_redis == ["EVALSHA"]
    [[key]] = used
    assert key.endswith("activations-per-user")


def test_other_refusals(unchecked: Api) -> None:
    """Everything else refuses as before: the target, the period, and the number of uses."""
    company, user = unchecked.sign_up_company(), unchecked.sign_up_user(country="ru")
    assert _activate(user, company.create_promo(target={"country": "fr"})) == 403
    assert _activate(user, company.create_promo(active_until="2020-01-01")) == 403
    promo_id = company.create_promo(promo_unique=["only"])
    assert [_activate(user, promo_id) for _ in range(2)] == [200, 403]


def test_rate_limit(unchecked: Api) -> None:
    """Concurrent activations are counted exactly."""
    user, promo_id = unchecked.sign_up_user(), unchecked.sign_up_company().create_promo()
    statuses = [_activate(user, promo_id) for _ in range(15)]
    statuses += together([partial(_activate, user, promo_id)] * 10)
    assert sorted(statuses) == [200] * 20 + [429] * 5


def test_without_redis(settings: Settings, unchecked: Api, caplog: pytest.LogCaptureFixture) -> None:
    """Without Redis activations are still allowed, and only the rate limits are reported as unavailable."""
    user, promo_id = unchecked.sign_up_user(), unchecked.sign_up_company().create_promo()
    delta = MetricDelta()
    opened = Runtime.open(replace(settings, antifraud_address=None, redis_port=1))
    with TestClient(create_app(opened), raise_server_exceptions=False) as client:
        assert _activate(user, promo_id, Api(client)) == 200
    assert [record.msg for record in caplog.records if record.levelname == "WARNING"] == ["rate_limits_unavailable"]
    assert _lookups(delta) == 0


def test_account_deletion(settings: Settings, runtime: Runtime, unchecked: Api, cache: "redis.Redis") -> None:
    """A verdict that was cached before is deleted with its user."""
    user = unchecked.sign_up_user()
    key = _cache_refusal(settings, runtime, user)
    assert cache.exists(key)
    assert unchecked.call("DELETE", "/user/profile", token=user.token, json={"password": PASSWORD}).status_code == 200
    assert not cache.exists(key)


def test_health(unchecked: Api) -> None:
    """The health has a warning; the status is ok, and the anti-fraud service has no latency."""
    # PostgreSQL may respond late while the machine is busy.
    assert wait_until(lambda: unchecked.call("GET", "/health").json()["status"] == "ok", 10)
    body = unchecked.call("GET", "/health").json()
    assert body["dependencies"]["antifraud"] == {"state": "up"}
    assert body["warnings"] == [checks.DISABLED]
