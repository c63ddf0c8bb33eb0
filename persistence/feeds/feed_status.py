"""The update of the status of feed entries as days pass.

Feeds are exact without it, but have to skip more entries. It skips locked rows, so it cannot deadlock.
"""

from datetime import date
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Connection,
    Date,
    Select,
    any_,
    bindparam,
    case,
    func,
    literal,
    literal_column,
    not_,
    select,
    union_all,
    update,
)

from persistence.conditions import TODAY, is_usable, period_status
from persistence.database.statements import Statement
from persistence.schema.feed_tables import DATE, EXHAUSTED, LIVE, SCHEDULED, feed_entries
from persistence.schema.tables import promo_counters, promos

_ENTRIES = feed_entries.c
_ROW_ID: ColumnElement[Any] = literal_column("feed_entries.ctid")
_LABELED_ROW_ID = _ROW_ID.label("row_id")
# For BETWEEN two parameters the planner expects few rows.
_PAST = literal(date.min, Date)
_LIMIT = bindparam("limit", type_=BigInteger)


def _lock(rows: Select[Any], order: ColumnElement[Any], name: str, *others: CTE) -> CTE:
    """Lock rows until they and `others` reach the limit."""
    limit = sum((-select(func.count()).select_from(cte).scalar_subquery() for cte in others), start=_LIMIT)
    return rows.order_by(order).limit(limit).with_for_update(skip_locked=True, key_share=True).cte(name)


def _update() -> Select[Any]:
    is_begun = (_ENTRIES.status == SCHEDULED, DATE.between(_PAST, TODAY))
    begun = _lock(select(_LABELED_ROW_ID).where(*is_begun), DATE, "begun")
    is_ending = (_ENTRIES.status == LIVE, _ENTRIES.active_until.between(_PAST, TODAY))
    ending = _lock(select(_LABELED_ROW_ID).where(*is_ending), _ENTRIES.active_until, "ending", begun)
    # This also locks the promo, so no claim can outdate the uses.
    uses = (
        select(_LABELED_ROW_ID, _ENTRIES.promo_id, is_usable().label("usable"))
        .join_from(feed_entries, promo_counters, promo_counters.c.promo_id == _ENTRIES.promo_id)
        .join(promos, promos.c.id == _ENTRIES.promo_id)
    )
    unknown = _lock(uses.where(_ENTRIES.status.is_(None)), _ENTRIES.created_at, "unknown", begun, ending)
    exhausted = select(unknown.c.promo_id).where(not_(unknown.c.usable)).scalar_subquery()
    is_exhausted = _ENTRIES.promo_id == any_(func.array(exhausted))
    # By row id, because a join could read the whole table.
    row_ids = union_all(*(select(cte.c.row_id) for cte in (begun, ending, unknown))).scalar_subquery()
    updated = (
        update(feed_entries)
        .where(any_(func.array(row_ids)) == _ROW_ID)
        .values(status=case((is_exhausted, EXHAUSTED), else_=period_status(feed_entries)))
        .returning(_ENTRIES.promo_id)
        .cte("updated")
    )
    return select(func.count()).select_from(updated)


_UPDATE = Statement(_update())


def update_feed_status(connection: Connection, today: date, *, limit: int) -> int:
    """Update up to `limit` entries for the business day and return how many."""
    return int(_UPDATE.value(connection, {"today": today, "limit": limit}))
