"""The end of password resets, as a part of statements that change accounts."""

from uuid import UUID

from sqlalchemy import CTE, BindParameter, FromClause, delete

from persistence.schema.reset_tables import password_resets


def end_resets(account: FromClause, account_id: BindParameter[UUID]) -> CTE:
    """Delete the password reset of an account, if `account` has it. By its id too, so that Citus asks one shard."""
    reset = password_resets.c
    of_account = (reset.account_id == account.c.id, reset.account_id == account_id)
    return delete(password_resets).where(*of_account).cte("ended_reset")
