"""The activity of promos over time, from the counts by quarter of an hour."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    DateTime,
    Select,
    Table,
    Text,
    Uuid,
    bindparam,
    func,
    literal_column,
    select,
    true,
    union_all,
)

from persistence.database.statements import Statement, lateral_join
from persistence.schema.activity_tables import promo_activity, redemption_activity
from persistence.schema.tables import promos


@dataclass(frozen=True)
class Activity:
    """What happened in some time, perhaps in one country."""

    activations: int = 0
    redemptions: int = 0
    likes: int = 0
    comments: int = 0

    def __add__(self, other: "Activity") -> "Activity":
        """Return the sum."""
        return Activity(*map(sum, zip(astuple(self), astuple(other), strict=True)))


# By the key of the country; '': of no known country.
Countries = dict[str, Activity]
_PROMO_ID, _COMPANY_ID = bindparam("promo", type_=Uuid), bindparam("company", type_=Uuid)
_MOMENT = DateTime(timezone=True)
_FIRST, _END = bindparam("first", type_=_MOMENT), bindparam("end", type_=_MOMENT)
_BOUNDARIES = bindparam("boundaries", type_=ARRAY(_MOMENT))


def _count(table: Table, *, of_company: bool, by_country: bool) -> Select[Any]:
    rows = select(table).where(table.c.quarter >= _FIRST, table.c.quarter < _END)
    if of_company:
        own = rows.where(table.c.promo_id == promos.c.id)
        activity = lateral_join(own, "activity")
        counted = select().select_from(promos.join(activity, true())).where(promos.c.company_id == _COMPANY_ID)
    else:
        activity = rows.where(table.c.promo_id == _PROMO_ID).subquery("activity")
        counted = select().select_from(activity)
    country: ColumnElement[Any] = activity.c.country_key if by_country else literal_column("''", Text)
    keys = (func.width_bucket(activity.c.quarter, _BOUNDARIES).label("number"), country.label("country"))
    sums = (
        func.sum(activity.c[name]) if name in activity.c else literal_column("0")
        for name in Activity.__dataclass_fields__
    )
    return counted.add_columns(*keys, *sums).group_by(*(literal_column(name) for name in ("1", "2")))


@cache
def _statement(*, of_company: bool, by_country: bool) -> Statement:
    tables = (promo_activity, redemption_activity)
    return Statement(union_all(*(_count(table, of_company=of_company, by_country=by_country) for table in tables)))


def list_activity(
    connection: Connection,
    boundaries: Sequence[datetime],
    *,
    promo_id: UUID | None = None,
    company_id: UUID | None = None,
    by_country: bool,
) -> list[Countries]:
    """Return the activity of a promo, or of all promos of a company, between each two boundaries.

    Without `by_country` all is of the country ''.
    """
    values = {
        "promo": promo_id,
        "company": company_id,
        "boundaries": list(boundaries),
        "first": boundaries[0],
        "end": boundaries[-1],
    }
    buckets: list[Countries] = [{} for _ in boundaries[1:]]
    statement = _statement(of_company=promo_id is None, by_country=by_country)
    for number, country, *numbers in statement.rows(connection, values):
        countries = buckets[number - 1]
        countries[country] = countries.get(country, Activity()) + Activity(*map(int, numbers))
    return buckets
