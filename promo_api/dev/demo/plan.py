"""The plan of the month: promos, activations, likes and comments. The same seed and time give the same plan."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from random import Random
from typing import Any
from uuid import UUID

from persistence.accounts.credentials import COMPANY_ACCOUNTS, USER_ACCOUNTS
from persistence.redemptions import CodePlace
from promo_api.dev.demo.catalog import SHOPS
from promo_api.dev.demo.offers import Offer, Shop
from promo_api.dev.demo.people import Person, new_id, plan_people
from promo_api.dev.demo.rhythm import after, pick_weighted, spread
from promo_api.dev.demo.steps import ChangePromo, Comment, CreatePromo, Like, SignUp, Step
from promo_api.dev.demo.texts import write_comment
from promo_api.runtime import BUSINESS_CALENDAR

DAYS = 30
_SEED = 20
_LIKES, _COMMENTS = 0.11, 0.035
# How often an active user activates a promo without a limit.
_USES_MAX = 4
_UNTIL_FIRST_USE = timedelta(minutes=20)
_LETTERS = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
_PROMO_COLUMNS = ("description", "max_per_user", "low_stock_percent", "activation_events", "comments_enabled")


@dataclass(frozen=True)
class Use:
    """An activation. The code of a COMMON promo has no position."""

    at: datetime
    id: UUID
    user: Person
    code: CodePlace


@dataclass(frozen=True)
class PlannedPromo:
    """A promo, and its activations in the order of time."""

    id: UUID
    company_id: UUID
    shop: Shop
    offer: Offer
    uses: Sequence[Use]


@dataclass
class Plan:
    """A month.

    Attributes:
        now: its end.
        random: the source of all random values.
        people: all users.
        promos: all promos.
        steps: in any order.
    """

    now: datetime
    random: Random
    people: Sequence[Person] = ()
    promos: list[PlannedPromo] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    @property
    def first(self) -> datetime:
        """When the month begins."""
        return self.now - timedelta(days=DAYS)

    def at(self, day: float) -> datetime:
        """Return the time some days from now; -1: a day ago."""
        return self.now + timedelta(days=day)

    def in_office_hours(self, day: float) -> datetime:
        """Return a random time of a day, some days from now, at which people work."""
        return self.at(day).replace(hour=self.random.randint(7, 15), minute=self.random.randint(0, 59))


def plan_month(now: datetime, password_hash: str) -> Plan:
    """Return the plan of the month before a time. All accounts have the same password."""
    plan = Plan(now, Random(_SEED))  # noqa: S311 not for secrets
    plan.people = plan_people(plan.random, plan.first)
    plan.steps += (_sign_up(person, password_hash) for person in plan.people)
    for place, shop in enumerate(SHOPS):
        company_id = new_id(plan.random)
        values = {"name": shop.name, "email": shop.email, "password_hash": password_hash}
        plan.steps.append(SignUp(plan.in_office_hours(place * 2.3 - 75), COMPANY_ACCOUNTS, company_id, values))
        for offer in shop.offers:
            _plan_promo(plan, company_id, shop, offer)
    return plan


def _sign_up(person: Person, password_hash: str) -> Step:
    names = ("name", "surname", "email", "age", "country", "country_key")
    values = {name: getattr(person, name) for name in names}
    return SignUp(
        person.joined_at, USER_ACCOUNTS, person.id, {**values, "avatar_url": None, "password_hash": password_hash}
    )


def _plan_promo(plan: Plan, company_id: UUID, shop: Shop, offer: Offer) -> None:
    promo_id = new_id(plan.random)
    codes = [*_codes(plan.random, offer)] if offer.is_unique else None
    created = _create_promo(plan, promo_id, company_id, offer, codes)
    plan.steps.append(created)
    uses = [*_uses(plan, created, offer)]
    if offer.closing and offer.stopped is not None:
        plan.steps.append(ChangePromo(plan.at(offer.stopped), promo_id, {offer.closing: True}))
    promo = PlannedPromo(promo_id, company_id, shop, offer, uses)
    plan.promos.append(promo)
    plan.steps += (step for step in _reactions(plan, promo) if step.at < _ends_at(plan, offer))


def _create_promo(
    plan: Plan, promo_id: UUID, company_id: UUID, offer: Offer, codes: Sequence[str] | None
) -> CreatePromo:
    today = plan.now.astimezone(BUSINESS_CALENDAR).date()
    days = {"active_from": offer.starts, "active_until": offer.ends}
    values: dict[str, Any] = {
        **{name: getattr(offer, name) for name in _PROMO_COLUMNS},
        **{name: None if day is None else today + timedelta(days=day) for name, day in days.items()},
        "company_id": company_id,
        "mode": "UNIQUE" if offer.is_unique else "COMMON",
        "promo_common": None if offer.is_unique else offer.code,
        "country": offer.country,
        "age_from": offer.ages[0],
        "age_until": offer.ages[1],
        "categories": [*offer.categories],
    }
    return CreatePromo(plan.in_office_hours(offer.created), promo_id, values, offer.limit, codes)


def _codes(random: Random, offer: Offer) -> Iterator[str]:
    for _ in range(offer.limit):
        letters = "".join(random.choices(_LETTERS, k=8))
        yield f"{offer.code}-{letters[:4]}-{letters[4:]}"


def _uses(plan: Plan, promo: CreatePromo, offer: Offer) -> Iterator[Use]:
    if not offer.uses:
        return
    users = _choose_users(plan, offer)
    times = spread(plan.random, offer.uses, _begins_at(plan, promo.at, offer), _ends_at(plan, offer))
    for position, (at, user) in enumerate(zip(times, users, strict=True), 1):
        place = CodePlace(promo.id, None, offer.code)
        if promo.codes is not None:
            place = CodePlace(promo.id, position, promo.codes[position - 1])
        yield Use(at, new_id(plan.random), user, place)


def _choose_users(plan: Plan, offer: Offer) -> list[Person]:
    """Return the user of each activation: targeted, and none more often than is allowed."""
    youngest, oldest = offer.ages
    targeted = [
        person
        for person in plan.people
        if (offer.country is None or offer.country == person.country_key)
        and (youngest is None or youngest <= person.age)
        and (oldest is None or person.age <= oldest)
    ]
    targeted *= offer.max_per_user or _USES_MAX
    places = pick_weighted(plan.random, [person.weight for person in targeted], offer.uses)
    return [targeted[place] for place in places]


def _begins_at(plan: Plan, created_at: datetime, offer: Offer) -> datetime:
    starts_at = plan.first if offer.starts is None else _day(plan, offer.starts)
    return max(plan.first, created_at + _UNTIL_FIRST_USE, starts_at)


def _ends_at(plan: Plan, offer: Offer) -> datetime:
    stopped_at = plan.now if offer.stopped is None else plan.at(offer.stopped)
    ended_at = plan.now if offer.ends is None else _day(plan, offer.ends + 1)
    return min(plan.now, stopped_at, ended_at)


def _day(plan: Plan, day: int) -> datetime:
    """Return the beginning of a day of the business calendar."""
    date = plan.now.astimezone(BUSINESS_CALENDAR).date() + timedelta(days=day)
    return datetime.combine(date, time.min, BUSINESS_CALENDAR)


def _reactions(plan: Plan, promo: PlannedPromo) -> Iterator[Step]:
    """Yield likes and comments, by users who have activated the promo."""
    random, uses = plan.random, promo.uses
    first_uses = {use.user.id: use for use in reversed(uses)}
    likes = random.sample([*first_uses.values()], min(round(_LIKES * len(uses)), len(first_uses)))
    for use in likes:
        yield Like(after(random, use.at, hours=3), promo.id, use.user)
    if promo.offer.comments_enabled:
        for use in random.sample(uses, round(_COMMENTS * len(uses))):
            text = write_comment(random, promo.shop.praise)
            yield Comment(after(random, use.at, hours=30), promo.id, new_id(random), use.user, text)
