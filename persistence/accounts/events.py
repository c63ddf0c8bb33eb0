"""Part of each statement that does something to an account: what records it (account_events), or nothing is done."""

from typing import Any

from sqlalchemy import CTE, ColumnElement, FromClause, Table, insert, literal_column, select

from persistence.schema.audit_tables import account_events
from persistence.schema.tables import users


def recorded(changed: FromClause, table: Table, event: str, *, members: ColumnElement[Any] | None = None) -> CTE:
    """Return the part of a statement that records an event of each account that another part has changed.

    Args:
        changed: the accounts: what that part returns, their `id` among it.
        table: whose accounts they are, companies or users.
        event: one of the words that account_events knows.
        members: of 'profile_changed' the names of those members of the profile that were changed; where there are
            none, nothing is recorded.
    """
    owner = "user_id" if table is users else "company_id"
    # No parameter, of which several parts of one statement would need one each.
    told = [changed.c.id, literal_column(f"'{event}'")]
    if members is None:
        return insert(account_events).from_select([owner, "event"], select(*told)).cte(event)
    named = select(*told, members).where(members != literal_column("'{}'"))
    return insert(account_events).from_select([owner, "event", "members"], named).cte(event)
