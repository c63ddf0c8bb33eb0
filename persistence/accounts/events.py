"""The audit log of accounts. An event is recorded by the statement that causes it."""

from typing import Any

from sqlalchemy import CTE, ColumnElement, FromClause, Table, insert, literal_column, select

from persistence.schema.audit_tables import account_events
from persistence.schema.tables import users


def record_event(changed: FromClause, table: Table, event: str, *, members: ColumnElement[Any] | None = None) -> CTE:
    """Return the part of a statement that records an event for each changed row of `table`.

    `members` has the names of the changed members. If it is an empty array, no event is recorded.
    """
    owner = "user_id" if table is users else "company_id"
    # A literal, because two parts of a statement cannot have different values for one parameter.
    columns = [changed.c.id, literal_column(f"'{event}'")]
    if members is None:
        return insert(account_events).from_select([owner, "event"], select(*columns)).cte(event)
    rows = select(*columns, members).where(members != literal_column("'{}'"))
    return insert(account_events).from_select([owner, "event", "members"], rows).cte(event)
