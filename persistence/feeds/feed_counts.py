"""Exact totals of feeds in constant time.

Counts are prefix sums over ages: a promo for ages 18 to 30 adds +1 at age 18 and -1 at age 31, so the sum up to the
user's age is 1 at 25 and 0 at 40.

Active promos have the same sums over days, by year, month and day: the total of 17 March 2026 is the sum of the years
before 2026, of January and February, and of 1 to 17 March. So nothing has to run at midnight.

Writers insert into feed_count_changes, so none blocks another. The sweeper merges it into feed_counts; a total reads
both in one snapshot.
"""

from datetime import date
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Date,
    DateTime,
    FromClause,
    Integer,
    Select,
    Text,
    bindparam,
    cast,
    delete,
    func,
    literal,
    not_,
    select,
    text,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import TEXT, array, insert

from persistence.conditions import TARGET_COLUMNS, TargetUser, is_usable
from persistence.database.statements import Statement
from persistence.feeds.feed_totals import ALL, ALL_DATE, feed_total, total_parameters
from persistence.schema.feed_tables import feed_count_changes, feed_counts
from persistence.schema.tables import promo_counters, promos

_KEY = ("category_key", "country_key", "span", "starts_on", "age")
_PERIODS = ("year", "month", "day")


def _counts_of(changes: FromClause) -> Select[Any]:
    """Select the counts of rows like those of feed_count_changes."""
    listed = (
        func.unnest(changes.c.category_keys.op("||")(array([literal("", TEXT)])))
        .table_valued("key", name="listed")
        .render_derived()
    )
    category = select(listed.c.key).distinct().lateral("category")
    age = _edges("ages", func.coalesce(changes.c.age_from, 0), changes.c.age_until + 1)
    day = _edges("days", func.coalesce(changes.c.active_from, literal(ALL_DATE, Date)), changes.c.active_until + 1)
    period = func.unnest(array([literal(name, Text) for name in _PERIODS])).table_valued("name", name="periods")
    period = period.render_derived()
    starts_on = cast(func.date_trunc(period.c.name, cast(day.c.at, DateTime)), Date)

    def rows(span: Any, first: Any, count: Any) -> Select[Any]:
        country = func.coalesce(changes.c.country_key, "")
        values = zip((*_KEY, "promo_count"), (category.c.key, country, span, first, age.c.at, count), strict=True)
        columns = (value.label(name) for name, value in values)
        return select(*columns).join_from(changes, category, true()).join(age, age.c.at.is_not(None))

    of_all = rows(literal(ALL, Text), literal(ALL_DATE, Date), changes.c.promo_count * age.c.sign)
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


_TOTAL, _MERGE, _MISMATCHED = Statement(feed_total()), Statement(_merge()), Statement(_count_mismatched())


def count_feed(
    connection: Connection, user: TargetUser, today: date, *, category: str | None, active: bool | None
) -> int:
    """Return the number of promos that target the user. Filters apply unless they are None."""
    return int(_TOTAL.value(connection, total_parameters(user, today, category=category, active=active)))


def update_feed_counts(connection: Connection, *, limit: int) -> int:
    """Merge up to `limit` unlocked changes into the counts and return how many."""
    return int(_MERGE.value(connection, {"limit": limit}))


def count_mismatched_feed_counts(connection: Connection) -> int:
    """Count the keys whose counts are wrong. It reads all promos."""
    return int(_MISMATCHED.value(connection, {}))
