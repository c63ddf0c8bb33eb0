"""The audit log of accounts: the part of a statement that records an event, so that none happens unrecorded."""

from typing import Any

from sqlalchemy import CTE, ColumnElement, FromClause, Table, insert, literal_column, select

from persistence.schema.audit_tables import account_events
from persistence.schema.tables import users


def record_event(changed: FromClause, table: Table, event: str, *, members: ColumnElement[Any] | None = None) -> CTE:
    """Return the part of a statement that records an event for each `id` in `changed`, accounts of `table`.

    `members` are the names of the changed members for 'profile_changed'; if there are none, no event is recorded.
    """
    owner = "user_id" if table is users else "company_id"
    # Literals: parts of one statement cannot share a parameter with different values.
    columns = [changed.c.id, literal_column(f"'{event}'")]
    if members is None:
        return insert(account_events).from_select([owner, "event"], select(*columns)).cte(event)
    rows = select(*columns, members).where(members != literal_column("'{}'"))
    return insert(account_events).from_select([owner, "event", "members"], rows).cte(event)
