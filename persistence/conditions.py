"""Conditions on promos: when a promo is active, and which users it targets.

A condition reads columns of `promos` unless another table with the same columns is passed. Parameters must not have the
name of a column: SQLAlchemy would take them for the values that an UPDATE sets.
"""

from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import ColumnElement, Date, FromClause, SmallInteger, Text, and_, bindparam, case, or_

from persistence.schema.feed_tables import ENDING, LIVE, SCHEDULED
from persistence.schema.tables import promo_counters, promos

# The business day: a parameter of every statement that asks whether a promo is active.
TODAY = bindparam("today", type_=Date)
_COUNTRY, _AGE = bindparam("user_country", type_=Text), bindparam("user_age", type_=SmallInteger)
# What decides in which feeds a promo is listed and counted.
TARGET_COLUMNS = ("country_key", "age_from", "age_until", "category_keys", "active_from", "active_until")


class TargetUser(Protocol):
    """What targeting needs to know about a user."""

    @property
    def id(self) -> UUID:
        """The id of the user."""

    @property
    def age(self) -> int:
        """The age in years."""

    @property
    def country_key(self) -> str:
        """The country, case-folded."""


def has_begun(of: FromClause = promos) -> ColumnElement[bool]:
    """Return the condition that TODAY is on or after the first day of the period."""
    return or_(of.c.active_from.is_(None), of.c.active_from <= TODAY)


def has_not_ended(of: FromClause = promos) -> ColumnElement[bool]:
    """Return the condition that TODAY is on or before the last day of the period."""
    return or_(of.c.active_until.is_(None), of.c.active_until >= TODAY)


def in_period(of: FromClause = promos) -> ColumnElement[bool]:
    """Return the condition that TODAY is within the period."""
    return and_(has_begun(of), has_not_ended(of))


def has_uses_left() -> ColumnElement[bool]:
    """Return the condition on promo_counters that a use is left."""
    return promo_counters.c.used_count < promo_counters.c.use_limit


def is_active() -> ColumnElement[bool]:
    """Return the condition on promos and promo_counters that a promo is within its period and has a use left."""
    return and_(in_period(), has_uses_left())


def period_standing(of: FromClause) -> ColumnElement[str]:
    """Return the standing TODAY of a feed entry that has uses left (see feed_tables)."""
    return case((of.c.active_from > TODAY, SCHEDULED), (of.c.active_until <= TODAY, ENDING), else_=LIVE)


def fits_country(of: FromClause = promos, country: ColumnElement[Any] = _COUNTRY) -> ColumnElement[bool]:
    """Return the condition that a promo targets a country or all countries; `country` may be `all_` of an array."""
    return or_(of.c.country_key.is_(None), of.c.country_key == country)


def fits_age(of: FromClause = promos, age: ColumnElement[Any] = _AGE) -> ColumnElement[bool]:
    """Return the condition that a promo targets an age; `age` may be `all_` of an array."""
    return and_(
        or_(of.c.age_from.is_(None), of.c.age_from <= age), or_(of.c.age_until.is_(None), of.c.age_until >= age)
    )
