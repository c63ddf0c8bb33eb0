"""Parts of statements that change feed entries."""

from typing import Any

from sqlalchemy import CTE, ColumnElement, FromClause, Integer, case, cast, func, insert, literal, select
from sqlalchemy.dialects.postgresql import TEXT, array
from sqlalchemy.sql.dml import ReturningInsert

from persistence.conditions import TARGET_COLUMNS, period_status
from persistence.schema.feed_tables import EXHAUSTED, feed_count_changes, feed_entries

ENTRY_KEY = ("category_key", "country_key", "created_at", "promo_id")
FILTER_COLUMNS = ("age_from", "age_until", "active_from", "active_until")


def select_entries(promo: FromClause, *columns: ColumnElement[Any]) -> CTE:
    """Select an entry for unfiltered feeds and one for each category."""
    category_key = func.unnest(promo.c.category_keys.op("||")(array([literal("", TEXT)])))
    values = (category_key, func.coalesce(promo.c.country_key, ""), promo.c.created_at, promo.c.id)
    key = [value.label(name) for name, value in zip(ENTRY_KEY, values, strict=True)]
    return select(*key, *(promo.c[name] for name in FILTER_COLUMNS), *columns).distinct().cte("new_entries")


def is_entry(entries: FromClause) -> list[ColumnElement[bool]]:
    """Join feed_entries by primary key."""
    return [feed_entries.c[name] == entries.c[name] for name in ENTRY_KEY]


def tally_change(promo: FromClause, sign: int) -> ReturningInsert[Any]:
    """Count a promo (`sign` 1) or stop counting it (-1); `usable`: a use is left."""
    counts = (literal(sign, Integer), sign * cast(promo.c.usable, Integer))
    change = select(*counts, *(promo.c[name] for name in TARGET_COLUMNS))
    inserted = insert(feed_count_changes).from_select(["promo_count", "usable_count", *TARGET_COLUMNS], change)
    return inserted.returning(feed_count_changes.c.id)


def insert_entries(promo: FromClause) -> tuple[CTE, CTE]:
    """Insert the entries of a promo and count it."""
    status = case((promo.c.usable, period_status(promo)), else_=EXHAUSTED).label("status")
    columns = [*ENTRY_KEY, *FILTER_COLUMNS, "status"]
    entries = insert(feed_entries).from_select(columns, select(select_entries(promo, status)))
    return entries.cte("entries"), tally_change(promo, 1).cte("count_change")
