"""What the service counts while it is used, by one process: each outcome of an activation, each answer, each wait."""

from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest

from persistence.database.engine import Database
from promo_api.config.settings import Settings
from promo_api.dev.processes import wait_until
from promo_api.errors import ServiceUnavailable
from promo_api.runtime import Runtime
from promo_api.security.rate_limits import RateLimits
from promo_api.sweeper import expired_responses_sweeper, feed_changes_sweeper, feed_status_sweeper
from tests.accounts import Account, Api
from tests.antifraud_control import HOUR_MS, Member, StandIn
from tests.metric_delta import Counting

_TOMORROW = (date.today() + timedelta(days=2)).isoformat()  # noqa: DTZ011 any zone's will do
_YESTERDAY = (date.today() - timedelta(days=2)).isoformat()  # noqa: DTZ011


def _activate(api: Api, key: str | None = None, **promo: Any) -> tuple[Account, str]:
    """Have a user of 30 from Russia activate a promo, and return who and where."""
    user = api.sign_up_user()
    path = f"/user/promo/{api.sign_up_company().create_promo(**promo)}/activate"
    user.post(path, headers={} if key is None else {"Idempotency-Key": key})
    return user, path


@pytest.mark.parametrize(
    ("reason", "promo"),
    [
        ("inactive", {"max_count": 0}),
        ("not_started", {"active_from": _TOMORROW}),
        ("expired", {"active_until": _YESTERDAY}),
        ("age", {"target": {"age_from": 31}}),
        ("country", {"target": {"country": "fr"}}),
    ],
)
def test_refusals(api: Api, reason: str, promo: dict[str, Any]) -> None:
    """An activation that is refused is counted by its reason, and no other one is."""
    counted = Counting()
    _activate(api, **promo)
    assert counted("promo_activations_total", outcome="refused", reason=reason) == 1
    assert counted("promo_activations_total", outcome="granted", reason="none") == 0
    assert counted("promo_requests_total", operation="user_activations.activate_promo", status="403") == 1


def test_exhausted(api: Api, everyone: None) -> None:
    """So is one that finds no use left, whether it is found before the anti-fraud service is asked, or by the claim."""
    assert everyone is None
    counted = Counting()
    user, path = _activate(api, max_count=1)
    assert user.post(path).status_code == 403
    assert counted("promo_activations_total", outcome="granted", reason="none") == 1
    assert counted("promo_activations_total", outcome="refused", reason="exhausted") == 1


def test_repetition(api: Api) -> None:
    """An activation that is only told of once more is counted once."""
    counted = Counting()
    user, path = _activate(api, key="one")
    assert user.post(path, headers={"Idempotency-Key": "one"}).status_code == 200
    assert counted("promo_activations_total", outcome="granted", reason="none") == 1
    assert counted("promo_requests_total", operation="user_activations.activate_promo", status="200") == 2


@pytest.mark.parametrize(
    ("behaviour", "results", "outcome"),
    [
        ({"ok": True}, {"yes": 1}, ("granted", "none")),
        ({"ok": False}, {"no": 1}, ("refused", "antifraud")),
        ({"status": 500}, {"no_response": 2}, ("refused", "antifraud")),
    ],
)
def test_antifraud_calls(
    api: Api, stand_in: StandIn, behaviour: dict[str, Any], results: dict[str, int], outcome: tuple[str, str]
) -> None:
    """Each call to the anti-fraud service is counted by what it brought, the second one too."""
    user = api.sign_up_user()
    stand_in.answers(Member(email=user.body["email"]), **behaviour)
    path = f"/user/promo/{api.sign_up_company().create_promo()}/activate"
    counted = Counting()
    user.post(path)
    calls = {name: counted("promo_antifraud_call_duration_seconds_count", result=name) for name in results}
    assert calls == results
    assert counted("promo_activations_total", outcome=outcome[0], reason=outcome[1]) == 1
    assert counted("promo_antifraud_verdict_lookups_total", result="none") == 1


@pytest.mark.parametrize(("ok", "result"), [(True, "yes"), (False, "no")])
def test_kept_verdicts(api: Api, stand_in: StandIn, ok: bool, result: str) -> None:
    """A verdict that is kept is counted when it is found, and the service is not asked again."""
    user = api.sign_up_user()
    stand_in.answers(Member(email=user.body["email"]), ok=ok, cache_ms=HOUR_MS)
    path = f"/user/promo/{api.sign_up_company().create_promo()}/activate"
    user.post(path)
    counted = Counting()
    user.post(path)
    assert counted("promo_antifraud_verdict_lookups_total", result=result) == 1
    assert counted("promo_antifraud_verdict_lookups_total", result="none") == 0
    assert counted("promo_antifraud_call_duration_seconds_count", result=result) == 0


def test_verdicts_without_redis(settings: Settings) -> None:
    """A lookup of a verdict that fails because Redis is unavailable is counted as such."""
    counted = Counting()
    with closing(RateLimits(replace(settings, redis_port=1))) as rate_limits:
        assert rate_limits.count_activation(uuid4()) is None
    assert counted("promo_antifraud_verdict_lookups_total", result="unavailable") == 1


def test_connections(settings: Settings, runtime: Runtime) -> None:
    """A connection is counted while it is lent; who waits for one in vain is too, and a new one took a while."""
    assert runtime
    database = Database(replace(settings, postgres_pool_size=1, postgres_pool_timeout_s=0.1))
    counted = Counting()
    with database.autocommit():
        assert database.count_connections_in_use() == 1
        with pytest.raises(ServiceUnavailable), database.transaction():
            pass
    assert database.count_connections_in_use() == 0
    assert counted("promo_postgres_pool_timeouts_total") == 1
    assert counted("promo_postgres_pool_wait_seconds_count") == 1
    with pytest.raises(RuntimeError), database.transaction():
        raise RuntimeError
    assert database.count_connections_in_use() == 0
    database.close()


def test_sweeps(runtime: Runtime, settings: Settings) -> None:
    """What the sweepers do is counted, and what they fail at."""
    counted = Counting()
    expired_responses_sweeper(runtime.database, runtime.clock).sweep()
    assert counted("promo_sweeps_total", sweeper="expired_responses", result="done") == 1
    rows = feed_changes_sweeper(runtime.database).sweep()
    assert counted("promo_swept_rows_total", sweeper="feed_changes") == rows
    rows = feed_status_sweeper(runtime.database, runtime.today).sweep()
    assert counted("promo_sweeps_total", sweeper="feed_status", result="done") == 1
    assert counted("promo_swept_rows_total", sweeper="feed_status") == rows
    nowhere = Database(replace(settings, postgres_port=1))
    failing = feed_changes_sweeper(nowhere, every_s=60)
    failing.start()
    assert wait_until(lambda: counted("promo_sweeps_total", sweeper="feed_changes", result="failed") == 1, 20)
    failing.stop()
    nowhere.close()


def test_requests_for_nothing(api: Api) -> None:
    """A path that is none of api.yml's is counted under one name, whatever it is."""
    counted = Counting()
    for path in ("/nothing", "/user/x/y/z"):
        assert api.call("GET", path).status_code == 404
    assert counted("promo_requests_total", operation="none", status="404") == 2
