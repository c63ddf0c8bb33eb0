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
) -> CTE:
    """Record an event for each changed row, unless `members` is an empty array."""
    owner = "user_id" if table is users else "company_id"
    # A literal: two events in one statement need different values.
    columns = [changed.c.id, literal_column(f"'{event}'")]
    if key_id is not None:
        rows = select(*columns, key_id)
        return insert(account_events).from_select([owner, "event", "key_id"], rows).cte(event)
    if members is None:
        return insert(account_events).from_select([owner, "event"], select(*columns)).cte(event)
    rows = select(*columns, members).where(members != literal_column("'{}'"))
    return insert(account_events).from_select([owner, "event", "members"], rows).cte(event)
