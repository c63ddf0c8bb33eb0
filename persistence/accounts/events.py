"""The audit log of accounts."""

from typing import Any

from sqlalchemy import CTE, ColumnElement, FromClause, Table, insert, literal_column, select

from persistence.schema.audit_tables import account_events
from persistence.schema.tables import users


def record_event(
    changed: FromClause,
    table: Table,
    event: str,
    *,
    members: ColumnElement[Any] | None = None,
    key_id: ColumnElement[Any] | None = None,
    webhook_id: ColumnElement[Any] | None = None,
) -> CTE:
    """Record an event for each changed row, unless `members` is an empty array."""
    owner = "user_id" if table is users else "company_id"
    optional = {"members": members, "key_id": key_id, "webhook_id": webhook_id}
    # A literal: two events in one statement need different values.
    values: dict[str, ColumnElement[Any]] = {owner: changed.c.id, "event": literal_column(f"'{event}'")}
    values |= {name: value for name, value in optional.items() if value is not None}
    rows = select(*values.values())
    if members is not None:
        rows = rows.where(members != literal_column("'{}'"))
    return insert(account_events).from_select([*values], rows).cte(event)
