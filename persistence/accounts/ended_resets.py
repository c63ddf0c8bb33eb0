"""The end of password resets, as a part of statements that change accounts."""

from sqlalchemy import CTE, FromClause, delete

from persistence.schema.reset_tables import password_resets


def end_resets(account: FromClause) -> CTE:
    """Delete the password reset of each account."""
    return delete(password_resets).where(password_resets.c.account_id == account.c.id).cte("ended_reset")
