"""The period of a promo begins and ends at midnight in UTC+3."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.accounts import Account, Api
from tests.conftest import Clock

DAY = "2030-05-10"
BEFORE = datetime(2030, 5, 9, 20, 59, 59, 999999, UTC)
BEGIN = datetime(2030, 5, 9, 21, tzinfo=UTC)
END = datetime(2030, 5, 10, 20, 59, 59, 999999, UTC)
AFTER = datetime(2030, 5, 10, 21, tzinfo=UTC)
INSTANTS = [(BEFORE, False), (BEGIN, True), (END, True), (AFTER, False)]
PERIOD = {"active_from": DAY, "active_until": DAY}


def _shown(company: Account, user: Account, promo_id: str) -> dict[str, Any]:
    """Return `active` from each operation that returns it, for the only promo of its category."""
    return {
        "get": company.get(f"/business/promo/{promo_id}").json()["active"],
        "list": company.get("/business/promo").json()[0]["active"],
        "patch": company.patch(f"/business/promo/{promo_id}", json={}).json()["active"],
        "promo for user": user.get(f"/user/promo/{promo_id}").json()["active"],
        "feed": user.get("/user/feed?category=calendar").json()[0]["active"],
    }


@pytest.mark.parametrize(("now", "active"), INSTANTS)
@pytest.mark.parametrize("changes", [{}, {"promo_unique": ["one", "two"]}])
def test_a_promo_of_one_day(api: Api, clock: Clock, now: datetime, active: bool, changes: dict[str, Any]) -> None:
    """A promo of one day is active from the first to the last moment of that day in UTC+3, in every operation."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo(target={"categories": ["calendar"]}, **PERIOD, **changes)
    clock.stopped_at = now
    assert set(_shown(company, user, promo_id).values()) == {active}
    assert user.post(f"/user/promo/{promo_id}/activate").status_code == (200 if active else 403)


@pytest.mark.parametrize(("now", "active"), INSTANTS)
def test_feed_filter(api: Api, clock: Clock, now: datetime, active: bool) -> None:
    """The feed filter `active` changes at the same instants."""
    company, user = api.sign_up_company(), api.sign_up_user(country="aq")
    promo_id = company.create_promo(target={"country": "aq"}, **PERIOD)
    clock.stopped_at = now
    listed = [
        promo_id in [promo["promo_id"] for promo in user.get(f"/user/feed?limit=100&active={value}").json()]
        for value in ("true", "false")
    ]
    assert listed == [active, not active]


@pytest.mark.parametrize(
    ("period", "actives"),
    [
        ({"active_from": DAY}, [False, True, True, True]),
        ({"active_until": DAY}, [True, True, True, False]),
        ({}, [True, True, True, True]),
    ],
)
def test_open_periods(api: Api, clock: Clock, period: dict[str, str], actives: list[bool]) -> None:
    """Without a first or last day the period is unlimited on that side."""
    company = api.sign_up_company()
    promo_id = company.create_promo(**period)
    shown = []
    for now, _ in INSTANTS:
        clock.stopped_at = now
        shown.append(company.get(f"/business/promo/{promo_id}").json()["active"])
    assert shown == actives


def test_history_shows_the_promo_as_it_is_today(api: Api, clock: Clock) -> None:
    """`active` in the history is the current state of the promo, not that at its activation."""
    user = api.sign_up_user()
    promo_id = api.sign_up_company().create_promo(**PERIOD)
    clock.stopped_at = END
    user.post(f"/user/promo/{promo_id}/activate")
    assert user.get("/user/promo/history").json()[0]["active"] is True
    clock.stopped_at = AFTER
    assert user.get("/user/promo/history").json()[0]["active"] is False
