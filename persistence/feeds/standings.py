"""The periodic update of the standing of feed entries.

Feeds are exact without it; it limits how many entries a feed of active promos has to skip. It skips locked rows, so it
waits for no request and cannot deadlock. The period of an entry never changes: a changed promo gets new entries.
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

from persistence.conditions import TODAY, has_uses_left, period_standing
from persistence.database.statements import Statement
from persistence.schema.feed_tables import DATE, EXHAUSTED, LIVE, SCHEDULED, feed_entries
from persistence.schema.tables import promo_counters

_ENTRIES = feed_entries.c
_ROW_ID: ColumnElement[Any] = literal_column("feed_entries.ctid")
_LABELED_ROW_ID = _ROW_ID.label("row_id")
# A parameter: the planner then expects few rows between it and TODAY.
_PAST = literal(date.min, Date)
_LIMIT = bindparam("limit", type_=BigInteger)


def _locked(rows: Select[Any], order: ColumnElement[Any], name: str, *others: CTE) -> CTE:
    """Lock some of the rows: no more than the limit, together with `others`."""
    limit = sum((-select(func.count()).select_from(cte).scalar_subquery() for cte in others), start=_LIMIT)
    return rows.order_by(order).limit(limit).with_for_update(skip_locked=True, key_share=True).cte(name)


def _update() -> Select[Any]:
    is_begun = (_ENTRIES.standing == SCHEDULED, DATE.between(_PAST, TODAY))
    begun = _locked(select(_LABELED_ROW_ID).where(*is_begun), DATE, "begun")
    is_ending = (_ENTRIES.standing == LIVE, _ENTRIES.active_until.between(_PAST, TODAY))
    ending = _locked(select(_LABELED_ROW_ID).where(*is_ending), _ENTRIES.active_until, "ending", begun)
    # The lock of promo_counters excludes claims and changes, so the uses are current.
    uses = select(_LABELED_ROW_ID, _ENTRIES.promo_id, has_uses_left().label("usable")).join_from(
        feed_entries, promo_counters, promo_counters.c.promo_id == _ENTRIES.promo_id
    )
    unknown = _locked(uses.where(_ENTRIES.standing.is_(None)), _ENTRIES.created_at, "unknown", begun, ending)
    exhausted = select(unknown.c.promo_id).where(not_(unknown.c.usable)).scalar_subquery()
    is_exhausted = _ENTRIES.promo_id == any_(func.array(exhausted))
    # By row id: a join could read the whole table.
    row_ids = union_all(*(select(cte.c.row_id) for cte in (begun, ending, unknown))).scalar_subquery()
    updated = (
        update(feed_entries)
        .where(any_(func.array(row_ids)) == _ROW_ID)
        .values(standing=case((is_exhausted, EXHAUSTED), else_=period_standing(feed_entries)))
        .returning(_ENTRIES.promo_id)
        .cte("updated")
    )
    return select(func.count()).select_from(updated)


_UPDATE = Statement(_update())


def update_standings(connection: Connection, today: date, *, limit: int) -> int:
    """Update the standing of up to `limit` entries for the business day, and return how many. Feeds stay the same."""
    return int(_UPDATE.value(connection, {"today": today, "limit": limit}))
