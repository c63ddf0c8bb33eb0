"""What companies and users have in common: an e-mail address, a password hash and the version of their tokens.

Whatever happens to an account is recorded by the statement that does it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Connection, Table, bindparam, select, update
from sqlalchemy.dialects.postgresql import insert

from persistence.accounts.events import recorded
from persistence.database.statements import Statement
from persistence.schema.tables import companies, users


@dataclass(frozen=True)
class Credentials:
    """What a sign-in is checked against."""

    account_id: UUID
    password_hash: str


class Accounts:
    """The accounts of one kind; the same address may have one of each."""

    def __init__(self, table: Table) -> None:
        columns = table.c
        self._find_credentials = Statement(
            select(columns.id, columns.password_hash).where(columns.email_key == bindparam("email_key"))
        )
        given = {column.name: bindparam(column.name, type_=column.type) for column in _given(table)}
        made = (
            insert(table)
            .values(**given)
            .on_conflict_do_nothing(index_elements=["email_key"])
            .returning(columns.id, columns.token_version)
            .cte("made")
        )
        self._insert = Statement(select(made.c.token_version).add_cte(recorded(made, table, "signed_up")))
        ended = (
            update(table).values(token_version=columns.token_version + 1).returning(columns.id, columns.token_version)
        )
        signed_out = ended.where(
            columns.id == bindparam("account_id"), columns.token_version == bindparam("version")
        ).cte("ended")
        self._end_tokens = Statement(
            select(signed_out.c.token_version).add_cte(recorded(signed_out, table, "signed_out"))
        )
        signed_in = (
            ended.values(password_hash=bindparam("new_hash"))
            .where(columns.id == bindparam("account_id"), columns.password_hash == bindparam("checked_hash"))
            .cte("ended")
        )
        self._renew_tokens = Statement(
            select(signed_in.c.token_version).add_cte(recorded(signed_in, table, "signed_in"))
        )

    def find_credentials(self, connection: Connection, email: str) -> Credentials | None:
        """Return what a sign-in by this address, in any case, is checked against; None if no account has it."""
        row = self._find_credentials.row(connection, {"email_key": email.casefold()})
        return None if row is None else Credentials(*row)

    def insert_account(self, connection: Connection, account_id: UUID, values: Mapping[str, Any]) -> int | None:
        """Insert an account.

        Args:
            connection: where to run it.
            account_id: the id to give it.
            values: all columns of what its kind signs up with, None for what is not given, and password_hash; the
                case-folded address is added.

        Returns:
            The version of its first token; None if an account of this kind has the address already, in any case.
        """
        row = {"id": account_id, **values, "email_key": values["email"].casefold()}
        version: int | None = self._insert.value(connection, row)
        return version

    def update_token_version(
        self, connection: Connection, account_id: UUID, *, checked_hash: str, new_hash: str
    ) -> int | None:
        """End every token of the account, since somebody signs in to it.

        Args:
            connection: where to run it.
            account_id: whose tokens end.
            checked_hash: the hash that the password was checked against.
            new_hash: the hash to keep from now on: the same, or one of today's cost.

        Returns:
            The version of the tokens to come; None if the password has changed since it was checked.
        """
        values = {"account_id": account_id, "checked_hash": checked_hash, "new_hash": new_hash}
        version: int | None = self._renew_tokens.value(connection, values)
        return version

    def delete_tokens(self, connection: Connection, account_id: UUID, version: int) -> None:
        """End every token of the account; if theirs is another version by now, these have been ended already."""
        self._end_tokens.row(connection, {"account_id": account_id, "version": version})


def _given(table: Table) -> list[Column[Any]]:
    """Return the columns that PostgreSQL does not fill in by itself."""
    return [column for column in table.c if column.server_default is None]


COMPANY_ACCOUNTS = Accounts(companies)
USER_ACCOUNTS = Accounts(users)
