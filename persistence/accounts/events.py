"""The audit log of accounts."""

from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    bindparam,
    func,
    insert,
    literal_column,
    select,
)

from persistence.database.statements import Statement, is_distributed
from persistence.schema.audit_tables import account_log

_MOVE = Statement(select(func.move_account_events(bindparam("limit", type_=Integer))))


def record_event(
    changed: FromClause,
    event: str,
    *,
    members: ColumnElement[Any] | None = None,
    key_id: ColumnElement[Any] | None = None,
    webhook_id: ColumnElement[Any] | None = None,
) -> CTE:
    """Record an event for the account of each changed row, unless `members` is an empty array."""
    optional = {"members": members, "key_id": key_id, "webhook_id": webhook_id}
    # A literal: two events in one statement need different values.
    values: dict[str, ColumnElement[Any]] = {"account_id": changed.c.id, "event": literal_column(f"'{event}'")}
    values |= {name: value for name, value in optional.items() if value is not None}
    rows = select(*values.values())
    if members is not None:
        rows = rows.where(members != literal_column("'{}'"))
    return insert(account_log).from_select([*values], rows).cte(event)


def insert_earlier_events(connection: Connection, *, limit: int) -> int:
    """Move events that processes of the version before have written into the audit log, and return how many.

    There are none on several servers: their tables are distributed when all events have been moved.
    """
    return 0 if is_distributed(connection) else int(_MOVE.value(connection, {"limit": limit}))
