"""The total of a feed, as a query that other statements can include. See feed_counts for the sums."""

from collections.abc import Iterator
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    Date,
    FromClause,
    Integer,
    Select,
    Text,
    bindparam,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import TEXT, array
from sqlalchemy.types import TypeEngine

from persistence.conditions import TargetUser, fits_age, fits_country, in_period
from persistence.schema.feed_tables import feed_count_changes, feed_counts
from promo_api.folding import fold

# The span of all promos, active or not.
ALL, ALL_DATE = "ever", date.min
_CATEGORY = bindparam("category", type_=Text)
# Weights of all and of active promos, by the filter `active`.
_SIGNS = {None: (1, 0), True: (0, 1), False: (1, -1)}


def _ranges() -> FromClause:
    types: dict[str, type[TypeEngine[Any]]] = {"spans": Text, "firsts": Date, "ends": Date, "signs": Integer}
    values = (bindparam(name, type_=ARRAY(kind)) for name, kind in types.items())
    return func.unnest(*values).table_valued("span", "first", "end", "sign", name="range").render_derived()


def _sum_counts() -> Select[Any]:
    ranges, columns = _ranges(), feed_counts.c
    countries = array([literal("", TEXT), bindparam("user_country", type_=Text)])
    # LATERAL: one index scan per range. The generic plan of a join reads all counts.
    part = select(func.sum(columns.promo_count).label("promo_count")).where(
        columns.category_key == _CATEGORY,
        columns.country_key == func.any(countries),
        columns.span == ranges.c.span,
        columns.starts_on >= ranges.c.first,
        columns.starts_on < ranges.c.end,
        columns.age <= bindparam("user_age", type_=feed_counts.c.age.type),
    )
    sums = part.lateral("part")
    return select(func.sum(sums.c.promo_count * ranges.c.sign)).select_from(ranges.join(sums, true()))


def _sum_changes() -> Select[Any]:
    changes = feed_count_changes
    usable = case((in_period(changes), changes.c.usable_count), else_=0)
    weight = changes.c.promo_count * bindparam("all", type_=Integer) + usable * bindparam("active", type_=Integer)
    return select(func.sum(weight)).where(
        fits_country(changes),
        fits_age(changes),
        or_(_CATEGORY == "", changes.c.category_keys.op("@>")(cast(array([_CATEGORY]), ARRAY(TEXT)))),
    )


def feed_total() -> Select[Any]:
    """Select the number of promos that target a user."""
    parts = (func.coalesce(part.scalar_subquery(), 0) for part in (_sum_counts(), _sum_changes()))
    return select(sum(parts, start=literal(0)).label("total"))


def total_parameters(user: TargetUser, today: date, *, category: str | None, active: bool | None) -> dict[str, Any]:
    """Return the parameters of `feed_total`. Filters apply unless they are None."""
    of_all, of_active = _SIGNS[active]
    return {
        "all": of_all,
        "active": of_active,
        **_ranges_of(today, of_all, of_active),
        "category": "" if category is None else fold(category),
        "user_country": user.country_key,
        "user_age": user.age,
        "today": today,
    }


@lru_cache(maxsize=8)
def _ranges_of(today: date, of_all: int, of_active: int) -> dict[str, Any]:
    names = ("spans", "firsts", "ends", "signs")
    return {
        name: [*values]
        for name, values in zip(names, zip(*_list_ranges(today, of_all, of_active), strict=True), strict=True)
    }


def _list_ranges(today: date, of_all: int, of_active: int) -> Iterator[tuple[str, date, date, int]]:
    """Yield the ranges of a total: span, first day, day after the last, sign."""
    day = timedelta(days=1)
    year, month = today.replace(month=1, day=1), today.replace(day=1)
    if of_all:
        yield ALL, ALL_DATE, ALL_DATE + day, of_all
    if of_active:
        yield "year", date.min, year, of_active
        yield "month", year, month, of_active
        yield "day", month, today + day, of_active
