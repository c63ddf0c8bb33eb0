"""Exact totals of feeds in constant time.

Counts are prefix sums over ages: a promo for ages 18 to 30 adds +1 at age 18 and -1 at age 31, so the sum up to the
user's age is 1 at 25 and 0 at 40.

Active promos have the same sums over days, by year, month and day: the total of 17 March 2026 is the sum of the years
before 2026, of January and February, and of 1 to 17 March. So nothing has to run at midnight.

Writers insert into feed_count_changes, so none blocks another. The sweeper merges it into feed_counts; a total reads
both in one snapshot.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Date,
    DateTime,
    FromClause,
    Integer,
    Select,
    Text,
    bindparam,
    case,
    cast,
    delete,
    func,
    literal,
    not_,
    or_,
    select,
    text,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import TEXT, array, insert
from sqlalchemy.types import TypeEngine

from persistence.conditions import TARGET_COLUMNS, TargetUser, fits_age, fits_country, in_period, is_usable
from persistence.database.statements import Statement
from persistence.schema.feed_tables import feed_count_changes, feed_counts
from persistence.schema.tables import promo_counters, promos
from promo_api.folding import fold

_KEY = ("category_key", "country_key", "span", "starts_on", "age")
_PERIODS = ("year", "month", "day")
# The span of all promos, active or not.
_ALL, _ALL_DATE = "ever", date.min
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


def _total() -> Select[Any]:
    parts = (func.coalesce(part.scalar_subquery(), 0) for part in (_sum_counts(), _sum_changes()))
    return select(sum(parts, start=literal(0)))


def _counts_of(changes: FromClause) -> Select[Any]:
    """Select the counts of rows like those of feed_count_changes."""
    listed = (
        func.unnest(changes.c.category_keys.op("||")(array([literal("", TEXT)])))
        .table_valued("key", name="listed")
        .render_derived()
    )
    category = select(listed.c.key).distinct().lateral("category")
    age = _edges("ages", func.coalesce(changes.c.age_from, 0), changes.c.age_until + 1)
    day = _edges("days", func.coalesce(changes.c.active_from, literal(_ALL_DATE, Date)), changes.c.active_until + 1)
    period = func.unnest(array([literal(name, Text) for name in _PERIODS])).table_valued("name", name="periods")
    period = period.render_derived()
    starts_on = cast(func.date_trunc(period.c.name, cast(day.c.at, DateTime)), Date)

    def rows(span: Any, first: Any, count: Any) -> Select[Any]:
        country = func.coalesce(changes.c.country_key, "")
        values = zip((*_KEY, "promo_count"), (category.c.key, country, span, first, age.c.at, count), strict=True)
        columns = (value.label(name) for name, value in values)
        return select(*columns).join_from(changes, category, true()).join(age, age.c.at.is_not(None))

    of_all = rows(literal(_ALL, Text), literal(_ALL_DATE, Date), changes.c.promo_count * age.c.sign)
    of_periods = rows(period.c.name, starts_on, changes.c.usable_count * age.c.sign * day.c.sign)
    of_periods = of_periods.join(day, day.c.at.is_not(None)).join(period, true())
    return _sum_by_key(union_all(of_all, of_periods).subquery())


def _edges(name: str, first: ColumnElement[Any], end: ColumnElement[Any]) -> FromClause:
    """Return where a promo starts to count (+1) and stops (-1; NULL: never)."""
    signs = array([literal(sign, Integer) for sign in (1, -1)])
    return func.unnest(array([first, end]), signs).table_valued("at", "sign", name=name).render_derived()


def _sum_by_key(counts: FromClause) -> Select[Any]:
    total = func.sum(counts.c.promo_count)
    key = [counts.c[name] for name in _KEY]
    return select(*key, total.label("promo_count")).group_by(*key).having(total != 0)


def _merge() -> Select[Any]:
    changes = feed_count_changes
    oldest = select(changes.c.id).order_by(changes.c.id).limit(bindparam("limit")).with_for_update(skip_locked=True)
    deleted = (
        delete(changes).where(changes.c.id.in_(oldest.cte("oldest").select())).returning(*changes.c).cte("deleted")
    )
    # Ordered, so that two processes cannot deadlock.
    counts = _counts_of(deleted).order_by(*(text(name) for name in _KEY))
    merged = insert(feed_counts).from_select([*_KEY, "promo_count"], counts)
    merged = merged.on_conflict_do_update(
        index_elements=_KEY, set_={"promo_count": feed_counts.c.promo_count + merged.excluded.promo_count}
    )
    return select(func.count()).select_from(deleted).add_cte(merged.cte("merged"))


def _count_mismatched() -> Select[Any]:
    usable = cast(is_usable(), Integer).label("usable_count")
    expected = select(*(promos.c[name] for name in TARGET_COLUMNS), literal(1, Integer).label("promo_count"), usable)
    expected = expected.join_from(promos, promo_counters, promo_counters.c.promo_id == promos.c.id)
    expected = expected.where(not_(promos.c.archived))
    parts = (
        select(*(feed_counts.c[name] for name in (*_KEY, "promo_count"))),
        select(_counts_of(feed_count_changes).subquery()),
        _negate(_counts_of(expected.subquery("expected"))),
    )
    return select(func.count()).select_from(_sum_by_key(union_all(*parts).subquery()).subquery())


def _negate(counts: Select[Any]) -> Select[Any]:
    rows = counts.subquery()
    return select(*(rows.c[name] for name in _KEY), (-rows.c.promo_count).label("promo_count"))


_TOTAL, _MERGE, _MISMATCHED = Statement(_total()), Statement(_merge()), Statement(_count_mismatched())


def count_feed(
    connection: Connection, user: TargetUser, today: date, *, category: str | None, active: bool | None
) -> int:
    """Return the number of promos that target the user. Filters apply unless they are None."""
    of_all, of_active = _SIGNS[active]
    spans, firsts, ends, signs = map(list, zip(*_list_ranges(today, of_all, of_active), strict=True))
    values = {
        "all": of_all,
        "active": of_active,
        "spans": spans,
        "firsts": firsts,
        "ends": ends,
        "signs": signs,
        "category": "" if category is None else fold(category),
        "user_country": user.country_key,
        "user_age": user.age,
        "today": today,
    }
    return int(_TOTAL.value(connection, values))


def _list_ranges(today: date, of_all: int, of_active: int) -> Iterator[tuple[str, date, date, int]]:
    """Yield the ranges of a total: span, first day, day after the last, sign."""
    day = timedelta(days=1)
    year, month = today.replace(month=1, day=1), today.replace(day=1)
    if of_all:
        yield _ALL, _ALL_DATE, _ALL_DATE + day, of_all
    if of_active:
        yield "year", date.min, year, of_active
        yield "month", year, month, of_active
        yield "day", month, today + day, of_active


def update_feed_counts(connection: Connection, *, limit: int) -> int:
    """Merge up to `limit` unlocked changes into the counts and return how many."""
    return int(_MERGE.value(connection, {"limit": limit}))


def count_mismatched_feed_counts(connection: Connection) -> int:
    """Count the keys whose counts are wrong. It reads all promos."""
    return int(_MISMATCHED.value(connection, {}))
