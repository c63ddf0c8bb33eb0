"""The redemptions of the plan, in all states."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from persistence.redemptions import CodePlace
from promo_api.dev.demo.people import new_id
from promo_api.dev.demo.plan import Plan, PlannedPromo
from promo_api.dev.demo.rhythm import after

_DELAY_H = 20
_WITH_ORDER = 0.85
_FIRST_ORDER, _ORDER_STEP = 10_400, 3
# What comes of a redemption, and how frequent it is. A hold that nothing follows expires.
_OUTCOMES = {"redeemed": 0.88, "confirmed": 0.07, "released": 0.02, "expired": 0.015, "voided": 0.015}
_HOLD_S = 900
# Holds at the end of the month, which last for some hours.
_LIVE_HOLDS, _LIVE_HOLD_S, _LATEST_DAYS = 8, 4 * 3600, 0.1


@dataclass(frozen=True)
class RedemptionStep:
    """A company redeems a code, or holds it for `hold_s` seconds. With a state, it changes this redemption instead."""

    at: datetime
    company_id: UUID
    id: UUID
    code: CodePlace
    order_ref: str | None = None
    hold_s: int | None = None
    state: str | None = None


def plan_redemptions(plan: Plan) -> Iterator[RedemptionStep]:
    """Yield the redemptions of all companies, in any order."""
    for company_id in dict.fromkeys(promo.company_id for promo in plan.promos):
        promos = [promo for promo in plan.promos if promo.company_id == company_id]
        if promos[0].shop.redeemed:
            yield from _of_company(plan, promos)


def _of_company(plan: Plan, promos: Sequence[PlannedPromo]) -> Iterator[RedemptionStep]:
    random, shop, company_id = plan.random, promos[0].shop, promos[0].company_id
    chosen, rest = [], []
    for use in (use for promo in promos for use in promo.uses):
        at = after(random, use.at, hours=_DELAY_H)
        if random.random() < shop.redeemed and at < plan.now:
            chosen.append((at, use))
        else:
            rest.append(use)
    number = _FIRST_ORDER
    for at, use in sorted(chosen, key=lambda each: each[0]):
        number += random.randint(1, _ORDER_STEP)
        order = f"{shop.orders}-{number}" if random.random() < _WITH_ORDER else None
        [outcome] = random.choices([*_OUTCOMES], [*_OUTCOMES.values()])
        hold_s = None if outcome in ("redeemed", "voided") else _HOLD_S
        redeemed = RedemptionStep(at, company_id, new_id(random), use.code, order, hold_s)
        yield redeemed
        changed_at = at + _until_change(random, outcome)
        if outcome in ("confirmed", "released", "voided") and changed_at < plan.now:
            yield RedemptionStep(changed_at, company_id, redeemed.id, use.code, state=outcome)
    latest = [use for use in rest if plan.at(-_LATEST_DAYS) < use.at]
    for use in random.sample(latest, min(_LIVE_HOLDS, len(latest))):
        number += random.randint(1, _ORDER_STEP)
        at = _between(random, use.at, plan.now)
        yield RedemptionStep(at, company_id, new_id(random), use.code, f"{shop.orders}-{number}", _LIVE_HOLD_S)


def _until_change(random: Random, outcome: str) -> timedelta:
    if outcome == "voided":
        return timedelta(hours=1 + random.expovariate(1 / 24))
    return timedelta(seconds=random.uniform(60, _HOLD_S - 60))


def _between(random: Random, first: datetime, last: datetime) -> datetime:
    return first + (last - first) * random.uniform(0.1, 0.9)
