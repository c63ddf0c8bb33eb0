"""A promo begins and ends by the calendar of UTC+3."""

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
    """Return what each operation that shows `active` says of the promo, which is the only one of its category."""
    return {
        "get": company.get(f"/business/promo/{promo_id}").json()["active"],
        "list": company.get("/business/promo").json()[0]["active"],
        "patch": company.patch(f"/business/promo/{promo_id}", json={}).json()["active"],
        "card": user.get(f"/user/promo/{promo_id}").json()["active"],
        "feed": user.get("/user/feed?category=calendar").json()[0]["active"],
    }


@pytest.mark.parametrize(("now", "active"), INSTANTS)
@pytest.mark.parametrize("changes", [{}, {"promo_unique": ["one", "two"]}])
def test_a_promo_of_one_day(api: Api, clock: Clock, now: datetime, active: bool, changes: dict[str, Any]) -> None:
    """A promo of one day is active from the first to the last moment of that day in UTC+3, for all who look."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo(target={"categories": ["calendar"]}, **PERIOD, **changes)
    clock.stopped_at = now
    assert set(_shown(company, user, promo_id).values()) == {active}
    assert user.post(f"/user/promo/{promo_id}/activate").status_code == (200 if active else 403)


@pytest.mark.parametrize(("now", "active"), INSTANTS)
def test_feed_filter(api: Api, clock: Clock, now: datetime, active: bool) -> None:
    """The filter of a feed changes sides at the same midnights."""
    company, user = api.sign_up_company(), api.sign_up_user(country="aq")
    promo_id = company.create_promo(target={"country": "aq"}, **PERIOD)
    clock.stopped_at = now
    listed = [
        promo_id in [card["promo_id"] for card in user.get(f"/user/feed?limit=100&active={asked}").json()]
        for asked in ("true", "false")
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
    """A side that is not given is open."""
    company = api.sign_up_company()
    promo_id = company.create_promo(**period)
    shown = []
    for now, _ in INSTANTS:
        clock.stopped_at = now
        shown.append(company.get(f"/business/promo/{promo_id}").json()["active"])
    assert shown == actives


def test_history_shows_the_promo_as_it_is_today(api: Api, clock: Clock) -> None:
    """An entry of the history says whether the promo is active today, not whether it was then."""
    user = api.sign_up_user()
    promo_id = api.sign_up_company().create_promo(**PERIOD)
    clock.stopped_at = END
    user.post(f"/user/promo/{promo_id}/activate")
    assert user.get("/user/promo/history").json()[0]["active"] is True
    clock.stopped_at = AFTER
    assert user.get("/user/promo/history").json()[0]["active"] is False
