"""Parts of statements that put promos into feeds, and take them out: for those that are there, and those just made."""

from typing import Any

from sqlalchemy import CTE, ColumnElement, FromClause, Integer, case, cast, func, insert, literal, select
from sqlalchemy.dialects.postgresql import TEXT, array
from sqlalchemy.sql.dml import ReturningInsert

from persistence.conditions import TARGET_COLUMNS, period_standing
from persistence.schema.feed_tables import EXHAUSTED, feed_entries, feed_tally_changes

PLACE = ("category_key", "country_key", "created_at", "promo_id")
COPIED = ("age_from", "age_until", "active_from", "active_until")


def places_of(listed: FromClause, *more: ColumnElement[Any]) -> CTE:
    """Return the entries of promos: that of all feeds, and one of each category, once, however often it is listed.

    `more` adds columns to the entries.
    """
    category_key = func.unnest(listed.c.category_keys.op("||")(array([literal("", TEXT)])))
    keys = (category_key, func.coalesce(listed.c.country_key, ""), listed.c.created_at, listed.c.id)
    named = [key.label(name) for name, key in zip(PLACE, keys, strict=True)]
    return select(*named, *(listed.c[name] for name in COPIED), *more).distinct().cte("places")


def at_place(places: FromClause) -> list[ColumnElement[bool]]:
    """Return the condition on feed_entries that an entry is one of these."""
    return [feed_entries.c[name] == places.c[name] for name in PLACE]


def told(listed: FromClause, sign: int) -> ReturningInsert[Any]:
    """Return the statement that tells the tallies of one promo more (`sign` 1) or less (-1)."""
    counts = (literal(sign, Integer), sign * cast(listed.c.usable, Integer))
    change = select(*counts, *(listed.c[name] for name in TARGET_COLUMNS))
    tallied = insert(feed_tally_changes).from_select(["promo_count", "usable_count", *TARGET_COLUMNS], change)
    return tallied.returning(feed_tally_changes.c.id)


def listing(listed: FromClause) -> tuple[CTE, CTE]:
    """Return the parts of a statement that list a promo in all feeds that it is for, and tell the tallies.

    Args:
        listed: columns of promos, and `usable`: whether a use is left.
    """
    standing = case((listed.c.usable, period_standing(listed)), else_=EXHAUSTED).label("standing")
    entries = insert(feed_entries).from_select([*PLACE, *COPIED, "standing"], select(places_of(listed, standing)))
    return entries.cte("entries"), told(listed, 1).cte("told")
