"""The plan of the demo: a month of activity in which all is possible for the service."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from promo_api.dev.demo.plan import Plan, plan_month
from promo_api.dev.demo.redemptions import plan_redemptions
from promo_api.dev.demo.rhythm import spread
from promo_api.dev.demo.steps import ChangePromo, CreatePromo

_NOW = datetime(2026, 3, 18, 14, 31, 7, tzinfo=UTC)


@pytest.fixture(scope="module")
def plan() -> Plan:
    """The plan of the month before a Wednesday."""
    return plan_month(_NOW, "a hash")


def test_size(plan: Plan) -> None:
    """12 companies, 60 promos, 5,000 users and 40,000 activations, until the last minute."""
    uses = [use for promo in plan.promos for use in promo.uses]
    assert len({promo.company_id for promo in plan.promos}) == 12
    assert (len(plan.promos), len(plan.people), len(uses)) == (60, 5_000, 40_000)
    times = sorted(use.at for use in uses)
    assert _NOW - timedelta(days=30) <= times[0]
    assert _NOW - timedelta(minutes=1) < times[-1] < _NOW


def test_rules_of_promos(plan: Plan) -> None:
    """Each activation is of a user whom the promo targets, after the sign-up, and within the limits."""
    for promo in plan.promos:
        offer, (youngest, oldest) = promo.offer, promo.offer.ages
        assert len(promo.uses) <= offer.limit
        assert [use.at for use in promo.uses] == sorted(use.at for use in promo.uses)
        for use in promo.uses:
            assert offer.country in (None, use.user.country_key)
            assert (youngest or 0) <= use.user.age <= (oldest or 100)
            assert use.user.joined_at < use.at
        most = max(Counter(use.user.id for use in promo.uses).values(), default=0)
        assert most <= (offer.max_per_user or most)


@pytest.mark.parametrize("now", [_NOW.replace(hour=0, minute=3), _NOW.replace(hour=21, minute=4)])
def test_any_time_of_day(now: datetime) -> None:
    """Also just after midnight, in UTC or in the business calendar, promos exist before they are used or changed."""
    plan = plan_month(now, "a hash")
    created = {step.id: step.at for step in plan.steps if isinstance(step, CreatePromo)}
    changes = [step for step in plan.steps if isinstance(step, ChangePromo)]
    assert all(created[promo.id] < use.at for promo in plan.promos for use in promo.uses)
    assert all(created[change.id] < change.at for change in changes)
    assert all(step.at < now for step in plan.steps)


def test_reproducible(plan: Plan) -> None:
    """Another plan for the same time is equal."""
    again = plan_month(_NOW, "a hash")
    assert again.promos == plan.promos
    assert again.steps == plan.steps
    assert [*plan_redemptions(again)] == [*plan_redemptions(plan_month(_NOW, "a hash"))]


def test_rhythm(plan: Plan) -> None:
    """Evenings have several times the activity of nights, and a Saturday more than a Monday."""
    times = spread(plan.random, 20_000, _NOW - timedelta(days=28), _NOW)
    hours, days = Counter(time.hour for time in times), Counter(time.weekday() for time in times)
    assert hours[19] > 5 * hours[3]
    assert days[5] > 1.2 * days[0]
