"""How many promos there are for a user: exact at every moment, at a price that does not grow with the promos.

A promo counts for the ages from age_from to age_until, in its country or in all of them. So it is tallied as +1 at the
first of these ages and -1 at the one after the last, and the sum of the tallies of all ages up to that of a user, of
their country and of '' (all countries), is the number of promos for them: at most 102 rows of each. It is so for each
category, and for '', which stands for all promos.

Whether a promo is within its period is a question of the same kind: it counts from active_from to active_until. These
tallies, of promos with a use left, are kept by day, and again summed up by month and by year: what began or ended up to
a day is the sum of the years before its year, of the months before its month in that year, and of the days up to it in
that month. So it can be asked of any day, and nothing needs to be done at midnight. The number of all promos, whatever
the day, is kept as the span `ever`.

Nobody waits for anybody to count: what changes a promo inserts a row into feed_tally_changes, in its own transaction.
The sweep moves these rows into the tallies by one statement, which happens as a whole or not at all; a total is read
from both tables by one statement, hence in one snapshot. So each change counts exactly once from the moment on at which
its transaction is committed, in every process, whoever dies when.
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
    or_,
    select,
    text,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import TEXT, array, insert
from sqlalchemy.types import TypeEngine

from persistence.conditions import TARGET_COLUMNS, Member, fits_age, fits_country, has_uses_left, in_period
from persistence.database.statements import Statement
from persistence.schema.feed_tables import feed_tallies, feed_tally_changes
from persistence.schema.tables import promo_counters, promos

_KEY = ("category_key", "country_key", "span", "starts_on", "age")
_PERIODS = ("year", "month", "day")
_EVER = date.min
_CATEGORY = bindparam("category", type_=Text)


def _spans() -> FromClause:
    """Return the ranges of tallies that make a total: span, first day, the day after the last, and the sign."""
    types: dict[str, type[TypeEngine[Any]]] = {"spans": Text, "firsts": Date, "ends": Date, "signs": Integer}
    values = (bindparam(name, type_=ARRAY(kind)) for name, kind in types.items())
    return func.unnest(*values).table_valued("span", "first", "end", "sign", name="asked").render_derived()


def _tallied() -> Select[Any]:
    asked, columns = _spans(), feed_tallies.c
    countries = array([literal("", TEXT), bindparam("user_country", type_=Text)])
    # One range after the other, each by the primary key: joined, a plan that knows no values would read all tallies.
    part = select(func.sum(columns.promo_count).label("promo_count")).where(
        columns.category_key == _CATEGORY,
        columns.country_key == func.any(countries),
        columns.span == asked.c.span,
        columns.starts_on >= asked.c.first,
        columns.starts_on < asked.c.end,
        columns.age <= bindparam("user_age", type_=feed_tallies.c.age.type),
    )
    ranges = part.lateral("part")
    return select(func.sum(ranges.c.promo_count * asked.c.sign)).select_from(asked.join(ranges, true()))


def _changed() -> Select[Any]:
    changes = feed_tally_changes
    usable = case((in_period(changes), changes.c.usable_count), else_=0)
    weight = changes.c.promo_count * bindparam("all", type_=Integer) + usable * bindparam("active", type_=Integer)
    return select(func.sum(weight)).where(
        fits_country(changes),
        fits_age(changes),
        or_(_CATEGORY == "", changes.c.category_keys.op("@>")(cast(array([_CATEGORY]), ARRAY(TEXT)))),
    )


def _total() -> Select[Any]:
    parts = (func.coalesce(part.scalar_subquery(), 0) for part in (_tallied(), _changed()))
    return select(sum(parts, start=literal(0)))


def _tallies_of(source: FromClause) -> Select[Any]:
    """Return the tallies of what has the columns of a change, summed up, without those that come to nothing."""
    listed = (
        func.unnest(source.c.category_keys.op("||")(array([literal("", TEXT)])))
        .table_valued("key", name="listed")
        .render_derived()
    )
    keys = select(listed.c.key).distinct().lateral("category")
    age = _corners("ages", func.coalesce(source.c.age_from, 0), source.c.age_until + 1)
    day = _corners("days", func.coalesce(source.c.active_from, literal(_EVER, Date)), source.c.active_until + 1)
    period = func.unnest(array([literal(name, Text) for name in _PERIODS])).table_valued("name", name="periods")
    period = period.render_derived()
    starts_on = cast(func.date_trunc(period.c.name, cast(day.c.at, DateTime)), Date)

    def rows(span: Any, first: Any, count: Any) -> Select[Any]:
        country = func.coalesce(source.c.country_key, "")
        values = zip((*_KEY, "promo_count"), (keys.c.key, country, span, first, age.c.at, count), strict=True)
        columns = (value.label(name) for name, value in values)
        return select(*columns).join_from(source, keys, true()).join(age, age.c.at.is_not(None))

    ever = rows(literal("ever", Text), literal(_EVER, Date), source.c.promo_count * age.c.sign)
    periods = rows(period.c.name, starts_on, source.c.usable_count * age.c.sign * day.c.sign)
    both = union_all(ever, periods.join(day, day.c.at.is_not(None)).join(period, true())).subquery()
    return _summed(both)


def _corners(name: str, first: ColumnElement[Any], end: ColumnElement[Any]) -> FromClause:
    """Return where something begins to count and where it ends (null: never), with their signs."""
    signs = array([literal(sign, Integer) for sign in (1, -1)])
    return func.unnest(array([first, end]), signs).table_valued("at", "sign", name=name).render_derived()


def _summed(tallies: FromClause) -> Select[Any]:
    total = func.sum(tallies.c.promo_count)
    key = [tallies.c[name] for name in _KEY]
    return select(*key, total.label("promo_count")).group_by(*key).having(total != 0)


def _fold() -> Select[Any]:
    changes = feed_tally_changes
    taken = select(changes.c.id).order_by(changes.c.id).limit(bindparam("most")).with_for_update(skip_locked=True)
    gone = delete(changes).where(changes.c.id.in_(taken.cte("taken").select())).returning(*changes.c).cte("gone")
    # In the order of the key, so that two processes that fold at once lock the same tallies in the same order.
    more = _tallies_of(gone).order_by(*(text(name) for name in _KEY))
    folded = insert(feed_tallies).from_select([*_KEY, "promo_count"], more)
    folded = folded.on_conflict_do_update(
        index_elements=_KEY, set_={"promo_count": feed_tallies.c.promo_count + folded.excluded.promo_count}
    )
    return select(func.count()).select_from(gone).add_cte(folded.cte("folded"))


def _wrong_tallies() -> Select[Any]:
    """Return how many sums of tallies and changes are not those of the promos."""
    usable = cast(has_uses_left(), Integer).label("usable_count")
    there = select(*(promos.c[name] for name in TARGET_COLUMNS), literal(1, Integer).label("promo_count"), usable)
    there = there.join_from(promos, promo_counters, promo_counters.c.promo_id == promos.c.id)
    parts = (
        select(*(feed_tallies.c[name] for name in (*_KEY, "promo_count"))),
        select(_tallies_of(feed_tally_changes).subquery()),
        _negated(_tallies_of(there.subquery("there"))),
    )
    return select(func.count()).select_from(_summed(union_all(*parts).subquery()).subquery())


def _negated(tallies: Select[Any]) -> Select[Any]:
    rows = tallies.subquery()
    return select(*(rows.c[name] for name in _KEY), (-rows.c.promo_count).label("promo_count"))


_COUNT, _FOLD, _WRONG = Statement(_total()), Statement(_fold()), Statement(_wrong_tallies())


def count_promos(
    connection: Connection, member: Member, today: date, *, category: str | None, active: bool | None
) -> int:
    """Return how many promos there are whose targeting fits the user, exactly at this moment.

    Args:
        connection: where to run it.
        member: for whom.
        today: the business day that tells what is active.
        category: only promos that list it, in any case; None: all.
        active: only those that are, or are not; None: all.
    """
    signs = {"all": int(active is not True), "active": 0 if active is None else 1 if active else -1}
    spans = list(_asked_spans(today, **signs))
    values = {
        **signs,
        **dict(zip(("spans", "firsts", "ends", "signs"), map(list, zip(*spans, strict=True)), strict=True)),
        "category": "" if category is None else category.casefold(),
        "user_country": member.country_key,
        "user_age": member.age,
        "today": today,
    }
    return int(_COUNT.value(connection, values))


def _asked_spans(today: date, **signs: int) -> Iterator[tuple[str, date, date, int]]:
    day = timedelta(days=1)
    year, month = today.replace(month=1, day=1), today.replace(day=1)
    if signs["all"]:
        yield "ever", _EVER, _EVER + day, signs["all"]
    if signs["active"]:
        yield "year", _EVER, year, signs["active"]
        yield "month", year, month, signs["active"]
        yield "day", month, today + day, signs["active"]


def update_tallies(connection: Connection, *, limit: int) -> int:
    """Move changes into the tallies, the oldest first, `limit` at most, and return how many.

    What another process is moving is passed over. No total is changed by it.
    """
    return int(_FOLD.value(connection, {"most": limit}))


def count_wrong_tallies(connection: Connection) -> int:
    """Return how many tallies, with the changes to come, are not what the promos say; in one snapshot.

    It reads all promos, and takes as long as that takes.
    """
    return int(_WRONG.value(connection, {}))
