"""Account deletion in single steps, so that a test can hold each step in an open transaction."""

from uuid import UUID

from sqlalchemy import Connection, inspect, select, text

from persistence.accounts.deletion import close_account
from persistence.database.engine import Database
from persistence.schema.tables import account_deletions, metadata, users


def close(connection: Connection, user_id: UUID) -> bool:
    """Close the account, as a request with the correct password does."""
    row = select(users.c.email, users.c.password_hash).where(users.c.id == user_id)
    email, password_hash = connection.execute(row).one()
    return close_account(connection, user_id, email, checked_hash=password_hash)


def rows_of(database: Database, user_id: UUID) -> list[str]:
    """Return the rows of all tables that contain the user ID, except the deletion itself, which ends later."""
    with database.autocommit() as connection:
        existing = set(inspect(connection).get_table_names())
        return [
            row
            for table in metadata.sorted_tables
            if table is not account_deletions and table.name in existing
            for row in connection.scalars(
                text(f"SELECT {table.name}::text FROM {table.name} WHERE {table.name}::text LIKE :id"),  # noqa: S608
                {"id": f"%{user_id}%"},
            )
        ]
