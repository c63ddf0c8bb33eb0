"""Eligibility: whether a user could activate a promo now, and all reasons why not, without side effects."""

from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from promo_api.dev.antifraud_stub import EmbeddedAntifraud
from promo_api.runtime import Runtime
from tests.accounts import Account, Api
from tests.conftest import Clock
from tests.integration.test_statement_counts import Count, count

__all__ = ["count"]

_NOON = datetime(2025, 1, 10, 9, tzinfo=UTC)


def _reasons(user: Account, promo_id: str) -> list[str]:
    """Return the reasons against an activation, and assert that `eligible` agrees."""
    response = user.get(f"/user/promo/{promo_id}/eligibility")
    assert response.status_code == 200, response.text
    assert response.json()["eligible"] == (not response.json()["reasons"])
    reasons: list[str] = response.json()["reasons"]
    return reasons


@pytest.fixture
def user(api: Api) -> Account:
    """A user of 30 years in France."""
    return api.sign_up_user(age=30, country="Fr")


@pytest.mark.parametrize(
    ("promo", "reasons"),
    [
        ({}, []),
        ({"promo_unique": ["c-1"]}, []),
        ({"active_from": "2025-01-10", "active_until": "2025-01-10"}, []),
        ({"target": {"age_from": 30, "age_until": 30, "country": "fR", "categories": ["none"]}}, []),
        ({"max_count": 0}, ["inactive"]),
        ({"active_from": "2025-01-11"}, ["not_started"]),
        ({"active_until": "2025-01-09"}, ["expired"]),
        ({"target": {"age_from": 31}}, ["age"]),
        ({"target": {"age_until": 29}}, ["age"]),
        ({"target": {"country": "de"}}, ["country"]),
        (
            {"max_count": 0, "active_until": "2025-01-09", "target": {"age_from": 31, "country": "de"}},
            ["inactive", "expired", "age", "country"],
        ),
    ],
)
def test_reasons(api: Api, clock: Clock, user: Account, promo: dict[str, Any], reasons: list[str]) -> None:
    """All reasons are returned. An activation is refused if and only if there is a reason."""
    promo_id = api.sign_up_company().create_promo(**promo)
    clock.stopped_at = _NOON
    assert _reasons(user, promo_id) == reasons
    assert user.post(f"/user/promo/{promo_id}/activate").status_code == (403 if reasons else 200)


@pytest.mark.parametrize("promo", [{"max_count": 1}, {"promo_unique": ["c-1"]}])
def test_exhausted(api: Api, user: Account, promo: dict[str, Any]) -> None:
    """A promo without uses left is exhausted, until the company raises its limit."""
    company = api.sign_up_company()
    promo_id = company.create_promo(**promo)
    assert user.post(f"/user/promo/{promo_id}/activate").status_code == 200
    assert _reasons(user, promo_id) == ["exhausted"]
    if "max_count" in promo:
        company.patch(f"/business/promo/{promo_id}", json={"max_count": 2})
        assert _reasons(user, promo_id) == []


@pytest.mark.parametrize(
    ("instant", "reasons"),
    [
        (datetime(2025, 1, 9, 20, 59, 59, 999999, UTC), ["not_started"]),
        (datetime(2025, 1, 9, 21, tzinfo=UTC), []),
        (datetime(2025, 1, 10, 20, 59, 59, 999999, UTC), []),
        (datetime(2025, 1, 10, 21, tzinfo=UTC), ["expired"]),
    ],
)
def test_days_begin_in_utc_plus_3(api: Api, clock: Clock, user: Account, instant: datetime, reasons: list[str]) -> None:
    """A promo begins and ends at midnight in UTC+3."""
    promo_id = api.sign_up_company().create_promo(active_from="2025-01-10", active_until="2025-01-10")
    clock.stopped_at = instant
    assert _reasons(user, promo_id) == reasons


def test_blocked(api: Api, user: Account, antifraud: EmbeddedAntifraud) -> None:
    """A cached negative verdict blocks the user. The anti-fraud service is not called."""
    promo_id = api.sign_up_company().create_promo()
    stub = f"http://{antifraud.address}/stub"
    requests.put(
        f"{stub}/behaviour", json={"user_email": user.body["email"], "ok": False, "cache_ms": 60_000}, timeout=10
    )
    assert _reasons(user, promo_id) == []
    assert user.post(f"/user/promo/{promo_id}/activate").status_code == 403
    assert _reasons(user, promo_id) == ["blocked"]
    other = api.sign_up_company().create_promo(max_count=0)
    assert _reasons(user, other) == ["inactive", "blocked"]
    assert requests.get(f"{stub}/calls", timeout=10).json()["by_email"][user.body["email"]] == 1


def test_no_side_effects(api: Api, user: Account, runtime: Runtime, count: Count) -> None:
    """A request changes nothing and takes two statements: one reads the account, the other the promo."""
    assert runtime.database
    company = api.sign_up_company()
    promo_id = company.create_promo(max_count=1)
    assert count(lambda: user.get(f"/user/promo/{promo_id}/eligibility")) == 2
    assert company.get(f"/business/promo/{promo_id}").json()["used_count"] == 0
    assert user.get("/user/promo/history").json() == []


def test_unknown_promo(user: Account) -> None:
    """An unknown promo is a 404."""
    path = "/user/promo/00000000-0000-4000-8000-000000000000/eligibility"
    assert user.get(path).status_code == 404
