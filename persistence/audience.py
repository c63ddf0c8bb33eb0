"""Who a promo is for: what is asked of a user, and the condition on promos."""

from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, SmallInteger, Text, and_, bindparam, or_

from persistence.tables import promos

# What a change says of its promo, in the columns that both tables have.
TALLIED = ("country_key", "age_from", "age_until", "category_keys", "active_from", "active_until")


class Member(Protocol):
    """What is asked of a user to tell which promos fit: the case-folded country and the age in years."""

    @property
    def id(self) -> UUID:
        """The id of the user."""

    @property
    def age(self) -> int:
        """The age in years."""

    @property
    def country_key(self) -> str:
        """The country, case-folded."""


_COUNTRY, _AGE = bindparam("user_country", type_=Text), bindparam("user_age", type_=SmallInteger)


def fits_country(of: FromClause = promos, country: ColumnElement[Any] = _COUNTRY) -> ColumnElement[bool]:
    """Return the condition on promos that they are for a country, or for all; `country` may be `all_` of several."""
    return or_(of.c.country_key.is_(None), of.c.country_key == country)


def fits_age(of: FromClause = promos, age: ColumnElement[Any] = _AGE) -> ColumnElement[bool]:
    """Return the condition on promos that an age is within their bounds; `age` may be `all_` of several."""
    return and_(
        or_(of.c.age_from.is_(None), of.c.age_from <= age), or_(of.c.age_until.is_(None), of.c.age_until >= age)
    )
