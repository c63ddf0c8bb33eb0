"""The update of the status of feed entries as days pass.

Feeds are exact without it, but have to skip more entries. It skips locked rows, so it cannot deadlock.
"""

from datetime import date
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Date,
    bindparam,
    func,
    literal,
    select,
    update,
)

from persistence.conditions import TODAY, period_status
from persistence.database.statements import Statement
from persistence.schema.feed_tables import DATE, LIVE, SCHEDULED, feed_entries

_ENTRIES = feed_entries.c
_KEY = [*feed_entries.primary_key]
# For BETWEEN two parameters the planner expects few rows.
_PAST = literal(date.min, Date)


def _lock(order: ColumnElement[Any], *conditions: ColumnElement[bool]) -> Statement:
    rows = select(*_KEY).where(*conditions).order_by(order).limit(bindparam("limit", type_=BigInteger))
    return Statement(rows.with_for_update(skip_locked=True, key_share=True))


_DATED = (
    _lock(DATE, _ENTRIES.status == SCHEDULED, DATE.between(_PAST, TODAY)),
    _lock(_ENTRIES.active_until, _ENTRIES.status == LIVE, _ENTRIES.active_until.between(_PAST, TODAY)),
)
_keys = (
    func.unnest(*(bindparam(f"keys_{column.name}", type_=ARRAY(column.type)) for column in _KEY))
    .table_valued(*(column.name for column in _KEY), name="keys")
    .render_derived()
)
_UPDATE = Statement(
    update(feed_entries)
    .where(*(column == _keys.c[column.name] for column in _KEY))
    .values(status=period_status(feed_entries))
)


def update_feed_status(connection: Connection, today: date, *, limit: int) -> int:
    """Update up to `limit` entries for the business day in a transaction, and return how many."""
    keys: list[Any] = []
    for statement in _DATED:
        keys += statement.rows(connection, {"today": today, "limit": limit - len(keys)})
    columns = zip(*keys, strict=True) if keys else [()] * len(_KEY)
    values = {f"keys_{column.name}": [*each] for column, each in zip(_KEY, columns, strict=True)}
    return _UPDATE.count(connection, {**values, "today": today})
