"""Metrics of one process: outcomes of activations, responses, waits for connections and sweeps."""

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import get_ident
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import insert

from persistence.database.engine import Database
from persistence.schema.feed_tables import feed_count_changes
from promo_api.config.settings import Settings
from promo_api.dev.processes import wait_until
from promo_api.errors import ServiceUnavailable
from promo_api.runtime import Runtime
from promo_api.security.rate_limits import RateLimits
from promo_api.sweeper import expired_responses_sweeper, feed_changes_sweeper
from promo_api.telemetry import metrics
from tests.accounts import Account, Api
from tests.antifraud_control import HOUR_MS, AntifraudControl, AntifraudUser
from tests.metric_delta import MetricDelta

# Days that are in the future and in the past in every time zone.
_FUTURE, _PAST = ((datetime.now(UTC).date() + timedelta(days=each)).isoformat() for each in (2, -2))


def _activate(api: Api, key: str | None = None, **promo: Any) -> tuple[Account, str]:
    """Let a new user, 30 and from Russia, activate a new promo; return the user and the path."""
    user = api.sign_up_user()
    path = f"/user/promo/{api.sign_up_company().create_promo(**promo)}/activate"
    user.post(path, headers={} if key is None else {"Idempotency-Key": key})
    return user, path


@pytest.mark.parametrize(
    ("reason", "promo"),
    [
        ("inactive", {"max_count": 0}),
        ("not_started", {"active_from": _FUTURE}),
        ("expired", {"active_until": _PAST}),
        ("age", {"target": {"age_from": 31}}),
        ("country", {"target": {"country": "fr"}}),
    ],
)
def test_refusals(api: Api, reason: str, promo: dict[str, Any]) -> None:
    """A refused activation is counted under its reason only."""
    delta = MetricDelta()
    _activate(api, **promo)
    assert delta("promo_activations_total", outcome="refused", reason=reason) == 1
    assert delta("promo_activations_total", outcome="granted", reason="none") == 0
    assert delta("promo_requests_total", operation="user_activations.activate_promo", status="403") == 1


def test_exhausted(api: Api, both_verdict_paths: None) -> None:
    """A promo without uses left is counted as exhausted, whether the offer or the claim finds it."""
    assert both_verdict_paths is None
    delta = MetricDelta()
    user, path = _activate(api, max_count=1)
    assert user.post(path).status_code == 403
    assert delta("promo_activations_total", outcome="granted", reason="none") == 1
    assert delta("promo_activations_total", outcome="refused", reason="exhausted") == 1


def test_replay_is_not_counted_again(api: Api) -> None:
    """A replayed activation is counted once, but both requests are counted."""
    delta = MetricDelta()
    user, path = _activate(api, key="one")
    assert user.post(path, headers={"Idempotency-Key": "one"}).status_code == 200
    assert delta("promo_activations_total", outcome="granted", reason="none") == 1
    assert delta("promo_requests_total", operation="user_activations.activate_promo", status="200") == 2


@pytest.mark.parametrize(
    ("behaviour", "results", "outcome"),
    [
        ({"ok": True}, {"yes": 1}, ("granted", "none")),
        ({"ok": False}, {"no": 1}, ("refused", "blocked")),
        ({"status": 500}, {"no_response": 2}, ("refused", "antifraud_unavailable")),
    ],
)
def test_antifraud_calls(
    api: Api,
    antifraud_control: AntifraudControl,
    behaviour: dict[str, Any],
    results: dict[str, int],
    outcome: tuple[str, str],
) -> None:
    """Each call to the anti-fraud service is counted by its result, including the retry."""
    user = api.sign_up_user()
    antifraud_control.set_behaviour(AntifraudUser(email=user.body["email"]), **behaviour)
    path = f"/user/promo/{api.sign_up_company().create_promo()}/activate"
    delta = MetricDelta()
    user.post(path)
    calls = {name: delta("promo_antifraud_call_duration_seconds_count", result=name) for name in results}
    assert calls == results
    assert delta("promo_activations_total", outcome=outcome[0], reason=outcome[1]) == 1
    assert delta("promo_antifraud_verdict_lookups_total", result="none") == 1


@pytest.mark.parametrize(("ok", "result"), [(True, "yes"), (False, "no")])
def test_cached_verdicts(api: Api, antifraud_control: AntifraudControl, ok: bool, result: str) -> None:
    """A cached verdict is counted as a lookup, and the anti-fraud service gets no call."""
    user = api.sign_up_user()
    antifraud_control.set_behaviour(AntifraudUser(email=user.body["email"]), ok=ok, cache_ms=HOUR_MS)
    path = f"/user/promo/{api.sign_up_company().create_promo()}/activate"
    user.post(path)
    delta = MetricDelta()
    user.post(path)
    assert delta("promo_antifraud_verdict_lookups_total", result=result) == 1
    assert delta("promo_antifraud_verdict_lookups_total", result="none") == 0
    assert delta("promo_antifraud_call_duration_seconds_count", result=result) == 0


def test_verdicts_without_redis(settings: Settings) -> None:
    """A verdict lookup that fails because Redis is unavailable is counted as such."""
    delta = MetricDelta()
    with closing(RateLimits(replace(settings, redis_port=1))) as rate_limits:
        assert rate_limits.count_activation(uuid4()) is None
    assert delta("promo_antifraud_verdict_lookups_total", result="unavailable") == 1


def test_connections(settings: Settings, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections in use, pool timeouts and waits for a new connection are counted."""
    assert runtime
    this_thread, count = get_ident(), metrics.connection_acquired
    # Background jobs of other tests' applications borrow connections meanwhile.
    monkeypatch.setattr(
        metrics, "connection_acquired", lambda began_s: count(began_s) if get_ident() == this_thread else None
    )
    delta = MetricDelta()
    with closing(Database(replace(settings, postgres_pool_size=1, postgres_pool_timeout_s=0.1))) as database:
        with database.autocommit():
            assert database.count_connections_in_use() == 1
            with pytest.raises(ServiceUnavailable), database.transaction():
                pass
        assert database.count_connections_in_use() == 0
        assert delta("promo_postgres_pool_timeouts_total") == 1
        assert delta("promo_postgres_pool_wait_seconds_count") == 1
        with pytest.raises(RuntimeError), database.transaction():
            raise RuntimeError
        assert database.count_connections_in_use() == 0


def test_sweeps(runtime: Runtime, settings: Settings) -> None:
    """Sweeps are counted by result, and swept rows by sweeper. The sweepers of the API may run in between."""
    delta = MetricDelta()
    change = {"promo_count": 0, "usable_count": 0, "category_keys": []}
    with runtime.database.autocommit() as connection:
        connection.execute(insert(feed_count_changes), [change] * 3)
    feed_changes_sweeper(runtime.database).sweep()
    assert delta("promo_sweeps_total", sweeper="feed_changes", result="done") >= 1
    assert wait_until(lambda: delta("promo_swept_rows_total", sweeper="feed_changes") >= 3, 20)
    expired_responses_sweeper(runtime.database, runtime.clock).sweep()
    assert delta("promo_sweeps_total", sweeper="expired_responses", result="done") >= 1
    unreachable = Database(replace(settings, postgres_port=1))
    failing = feed_changes_sweeper(unreachable, every_s=60)
    failing.start()
    assert wait_until(lambda: delta("promo_sweeps_total", sweeper="feed_changes", result="failed") >= 1, 20)
    failing.stop()
    unreachable.close()


def test_unknown_paths_share_a_label(api: Api) -> None:
    """All paths that api.yml does not describe are counted under one operation name."""
    delta = MetricDelta()
    for path in ("/nothing", "/user/x/y/z"):
        assert api.call("GET", path).status_code == 404
    assert delta("promo_requests_total", operation="none", status="404") == 2
