"""Inserts and deletes the feed entries of a promo.

To change a promo in one transaction: lock it (promos.find_promo), delete its entries, change it, insert its entries. A
claim of the last use, whose trigger marks entries as exhausted, also locks promo_counters first: neither overwrites
the other.
"""

from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    BigInteger,
    Connection,
    FromClause,
    Select,
    and_,
    bindparam,
    delete,
    func,
    not_,
    or_,
    select,
    union_all,
)
from sqlalchemy.sql.dml import ReturningInsert

from persistence.conditions import is_usable
from persistence.database.statements import Statement
from persistence.feeds.feed_entries import (
    ENTRY_KEY,
    FILTER_COLUMNS,
    insert_entries,
    is_entry,
    select_entries,
    tally_change,
)
from persistence.schema.feed_tables import ENDING, EXHAUSTED, HAS_OUTDATED_KEY, LIVE, SCHEDULED, feed_entries
from persistence.schema.tables import promo_counters, promos

_PROMO_ID = bindparam("promo", type_=promos.c.id.type)


def _select_promo() -> CTE:
    return (
        select(promos, is_usable().label("usable"))
        .join_from(promos, promo_counters, promo_counters.c.promo_id == promos.c.id)
        .where(promos.c.id == _PROMO_ID, not_(promos.c.archived))
        .cte("promo")
    )


def _delete(promo: FromClause) -> ReturningInsert[Any]:
    entries = delete(feed_entries).where(*is_entry(select_entries(promo)))
    return tally_change(promo, -1).add_cte(entries.cte("entries"))


def _count_mismatched() -> Select[Any]:
    stored = select(*(feed_entries.c[name] for name in (*ENTRY_KEY, *FILTER_COLUMNS)))
    expected = select(select_entries(select(promos).where(not_(promos.c.archived)).subquery("listed")))
    pairs = ((stored, expected), (expected, stored))
    differences = union_all(*(select(left.except_all(right).subquery()) for left, right in pairs))
    count = select(func.count()).select_from(differences.subquery()).scalar_subquery()
    return select(count + _count_wrong_status().scalar_subquery())


def _count_wrong_status() -> Select[Any]:
    """Count entries whose status is wrong on every day. Feeds are exact with an outdated status."""
    entries = feed_entries.c
    is_wrong = or_(
        (entries.status == EXHAUSTED) == is_usable(),
        and_(entries.status == SCHEDULED, entries.active_from.is_(None)),
        and_(entries.status == ENDING, entries.active_until.is_(None)),
        entries.status.not_in((LIVE, SCHEDULED, ENDING, EXHAUSTED)),
    )
    joined = select(func.count()).join_from(feed_entries, promo_counters, promo_counters.c.promo_id == entries.promo_id)
    return joined.join(promos, promos.c.id == entries.promo_id).where(is_wrong)


_PROMO = _select_promo()
_INSERT = Statement(select(_PROMO.c.id).add_cte(*insert_entries(_PROMO)))
_DELETE, _MISMATCHED = Statement(_delete(_PROMO)), Statement(_count_mismatched())
_OUTDATED = Statement(
    select(feed_entries.c.promo_id)
    .distinct()
    .where(HAS_OUTDATED_KEY, feed_entries.c.promo_id > bindparam("after", type_=promos.c.id.type))
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
