"""Inserts and deletes the feed entries of a promo.

To change a promo in one transaction: lock it (promos.find_promo), delete its entries, change it, insert its entries. A
claim of the last use, which marks entries as exhausted, also locks promo_counters first: neither overwrites the other.
"""

from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Connection,
    FromClause,
    Select,
    Uuid,
    and_,
    bindparam,
    func,
    literal,
    not_,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import TEXT, array

from persistence.conditions import TODAY, is_usable
from persistence.database.statements import Statement
from persistence.schema.feed_tables import ENDING, EXHAUSTED, HAS_OUTDATED_KEY, LIVE, SCHEDULED, feed_entries
from persistence.schema.tables import promo_counters, promos

_FILTERS = ("age_from", "age_until", "active_from", "active_until")


def _select_entries(promo: FromClause) -> Select[Any]:
    """Select an entry for unfiltered feeds and one for each category."""
    category_key = func.unnest(promo.c.category_keys.op("||")(array([literal("", TEXT)])))
    key = (category_key, func.coalesce(promo.c.country_key, ""), promo.c.created_at, promo.c.id)
    return select(*key, *(promo.c[name] for name in _FILTERS)).distinct()


def _count_mismatched() -> Select[Any]:
    stored = select(*feed_entries.primary_key, *(feed_entries.c[name] for name in _FILTERS))
    expected = _select_entries(select(promos).where(not_(promos.c.archived)).subquery("listed"))
    # Materialized, because Citus compares tables of different keys only if it has read them before.
    stored, expected = (
        select(rows.cte(name).prefix_with("MATERIALIZED"))
        for rows, name in ((stored, "stored"), (expected, "expected"))
    )
    pairs = ((stored, expected), (expected, stored))
    differences = union_all(*(select(left.except_all(right).subquery()) for left, right in pairs))
    count = select(func.count()).select_from(differences.subquery()).scalar_subquery()
    return select(count + _count_wrong_status().scalar_subquery())


def _count_wrong_status() -> Select[Any]:
    """Count entries whose status is wrong on every day. Feeds are exact with an outdated status."""
    # Materialized, as above.
    usable = (
        select(promos.c.id, is_usable().label("is_usable"))
        .join(promo_counters, promo_counters.c.promo_id == promos.c.id)
        .cte("usable")
        .prefix_with("MATERIALIZED")
    )
    stored = select(feed_entries).cte("entries").prefix_with("MATERIALIZED")
    entries = stored.c
    is_wrong = or_(
        (entries.status == EXHAUSTED) == usable.c.is_usable,
        and_(entries.status == SCHEDULED, entries.active_from.is_(None)),
        and_(entries.status == ENDING, entries.active_until.is_(None)),
        entries.status.not_in((LIVE, SCHEDULED, ENDING, EXHAUSTED)),
    )
    return select(func.count()).join_from(stored, usable, usable.c.id == entries.promo_id).where(is_wrong)


_PROMO_ID = bindparam("promo", type_=Uuid)
_INSERT = Statement(select(func.insert_feed_entries(_PROMO_ID, TODAY)))
_DELETE = Statement(select(func.delete_feed_entries(_PROMO_ID)))
_MISMATCHED = Statement(_count_mismatched())
_OUTDATED = Statement(
    select(feed_entries.c.promo_id)
    .distinct()
    .where(HAS_OUTDATED_KEY, feed_entries.c.promo_id > bindparam("after", type_=Uuid))
    .order_by(feed_entries.c.promo_id)
    .limit(bindparam("limit", type_=BigInteger))
)


def insert_feed_entries(connection: Connection, promo_id: UUID, today: date) -> None:
    """Insert the entries of a promo; none if it is archived."""
    _INSERT.row(connection, {"promo": promo_id, "today": today})


def delete_feed_entries(connection: Connection, promo_id: UUID) -> None:
    """Delete the entries of a promo, which must be locked and not changed yet."""
    _DELETE.row(connection, {"promo": promo_id})


def list_outdated_promos(connection: Connection, *, after: UUID, limit: int) -> list[UUID]:
    """Return promos with category keys of an earlier version, in the order of their ids."""
    return [row[0] for row in _OUTDATED.rows(connection, {"after": after, "limit": limit})]


def count_mismatched_feed_entries(connection: Connection) -> int:
    """Count entries that are missing, unexpected or wrong. It reads all promos."""
    return int(_MISMATCHED.value(connection, {}))
