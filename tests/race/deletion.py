"""Account deletion in single steps, so that a test can hold each step in an open transaction."""

from uuid import UUID

from sqlalchemy import Connection, select

from persistence.accounts.deletion import claim_account_deletion, close_account, delete_account_batch
from persistence.schema.tables import users


def close(connection: Connection, user_id: UUID) -> bool:
    """Close the account, as a request with the correct password does."""
    password_hash = connection.execute(select(users.c.password_hash).where(users.c.id == user_id)).scalar_one()
    return close_account(connection, user_id, checked_hash=password_hash)


def delete_batch(connection: Connection, user_id: UUID) -> int:
    """Run one batch of an unfinished deletion, and return the number of changed rows."""
    deletion = claim_account_deletion(connection, user_id)
    assert deletion is not None
    return delete_account_batch(connection, deletion)


def delete_rows(connection: Connection, user_id: UUID) -> None:
    """Run all batches of a deletion in the transaction of the connection."""
    while (deletion := claim_account_deletion(connection, user_id)) is not None:
        assert delete_account_batch(connection, deletion)
