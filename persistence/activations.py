"""Activations: the claim that is exact at any concurrency, and what they add up to.

Why the counting is right: a use is counted by one UPDATE of the promo's row in promo_counters, whose condition
(used_count < use_limit) PostgreSQL checks again on the newest version of the row once it has its lock. The same
statement issues the code and records the activation, and stands or falls as a whole. Since that lock is held until
the end, there is a free code for each use that is counted, and no code is looked for by two at once.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import CTE, Connection, Select, Text, Uuid, bindparam, exists, func, insert, select, update

from persistence.audience import Member, fits_user
from persistence.tables import activations, in_period, is_active, promo_codes, promo_counters, promos


@dataclass(frozen=True)
class Offer:
    """What is known of a promo before it is claimed: its mode, whether it is active, whether the user fits."""

    mode: str
    active: bool
    fits: bool


@dataclass(frozen=True)
class CountryUse:
    """How often a promo was activated from a country (lower case)."""

    country: str
    activations_count: int


_PROMO_ID = bindparam("promo", type_=Uuid)
_ACTIVATION_ID = bindparam("activation", type_=Uuid)
_OFFER = (
    select(promos.c.mode, is_active(), fits_user())
    .join_from(promos, promo_counters, promo_counters.c.promo_id == promos.c.id)
    .where(promos.c.id == _PROMO_ID)
)


def _counted() -> CTE:
    """Count one use, if the promo is within its period and has one left."""
    return (
        update(promo_counters)
        .where(
            promo_counters.c.promo_id == _PROMO_ID,
            promo_counters.c.used_count < promo_counters.c.use_limit,
            exists().where(promos.c.id == _PROMO_ID, in_period()),
        )
        .values(used_count=promo_counters.c.used_count + 1)
        .returning(promo_counters.c.promo_id)
        .cte("counted")
    )


def _recorded(won: CTE) -> CTE:
    """Record the activation of what was won."""
    columns = ["promo_id", "user_id", "id", "country_key"]
    user_id, country_key = bindparam("user", type_=Uuid), bindparam("user_country", type_=Text)
    row = select(won.c.promo_id, user_id, _ACTIVATION_ID, country_key)
    return insert(activations).from_select(columns, row).returning(activations.c.promo_id).cte("recorded")


def _claim_common() -> Select[Any]:
    recorded = _recorded(_counted())
    return select(promos.c.promo_common).where(promos.c.id == select(recorded.c.promo_id).scalar_subquery())


def _claim_unique() -> Select[Any]:
    counted = _counted()
    free = (
        select(promo_codes.c.promo_id, promo_codes.c.position)
        .where(
            promo_codes.c.promo_id == _PROMO_ID,
            promo_codes.c.activation_id.is_(None),
            select(counted.c.promo_id).exists(),
        )
        .order_by(promo_codes.c.position)
        .limit(1)
        .with_for_update(of=promo_codes, skip_locked=True)
        .cte("free")
    )
    issued = (
        update(promo_codes)
        .where(promo_codes.c.promo_id == free.c.promo_id, promo_codes.c.position == free.c.position)
        .values(activation_id=_ACTIVATION_ID)
        .returning(promo_codes.c.promo_id, promo_codes.c.value)
        .cte("issued")
    )
    return select(issued.c.value).add_cte(_recorded(issued))


_CLAIMS = {"COMMON": _claim_common(), "UNIQUE": _claim_unique()}
_STAT = (
    select(activations.c.country_key, func.count())
    .where(activations.c.promo_id == _PROMO_ID)
    .group_by(activations.c.country_key)
    .order_by(activations.c.country_key.collate("C"))
)


def find_offer(connection: Connection, promo_id: UUID, user: Member, today: date) -> Offer | None:
    """Return what speaks for or against an activation by the user on the business day `today`; None: no such promo."""
    values = {"promo": promo_id, "user_country": user.country_key, "user_age": user.age, "today": today}
    row = connection.execute(_OFFER, values).one_or_none()
    return None if row is None else Offer(*row)


def claim_value(
    connection: Connection, promo_id: UUID, user: Member, today: date, *, mode: str, activation_id: UUID
) -> str | None:
    """Activate a promo: count the use, issue the value and record who got it, all in one statement.

    Args:
        connection: where to run it.
        promo_id: the promo.
        user: who activates; country_key is recorded for the statistics.
        today: the business day; the promo must be within its period on it.
        mode: the mode of the promo, which never changes.
        activation_id: the id to give to the activation.

    Returns:
        The value; None, and nothing is changed, if no use was left or the period is over.
    """
    values = {
        "promo": promo_id,
        "user": user.id,
        "user_country": user.country_key,
        "activation": activation_id,
        "today": today,
    }
    return connection.execute(_CLAIMS[mode], values).scalar_one_or_none()


def list_country_uses(connection: Connection, promo_id: UUID) -> list[CountryUse]:
    """Return from where a promo was activated how often, by country from a to z."""
    return [CountryUse(*row) for row in connection.execute(_STAT, {"promo": promo_id})]
