"""Sign-up, sign-in, tokens and password resets. Each change is recorded in the audit log."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    Connection,
    DateTime,
    LargeBinary,
    Select,
    Table,
    Text,
    Uuid,
    bindparam,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from persistence.accounts.addresses import EMAIL_KEY, find_account_id, insert_address
from persistence.accounts.company_names import insert_name
from persistence.accounts.ended_resets import end_resets
from persistence.accounts.events import record_event
from persistence.database.statements import Statement
from persistence.schema.reset_tables import password_resets
from persistence.schema.tables import companies, users
from promo_api.folding import fold

_ACCOUNT_ID = bindparam("account_id", type_=Uuid)


@dataclass(frozen=True)
class Credentials:
    """The password hash of an account."""

    account_id: UUID
    password_hash: str


class Accounts:
    """The accounts of one kind. A company and a user may have the same e-mail address."""

    def __init__(self, table: Table, kind: str) -> None:
        self._kind = kind
        columns = table.c
        # A closed company has no password.
        is_open = (columns.id == _ACCOUNT_ID, columns.password_hash.is_not(None))
        self._find_credentials = Statement(select(columns.id, columns.password_hash).where(*is_open))
        self._insert = Statement(_insert(table, kind))
        # A new token_version revokes all tokens.
        revoke = update(table).values(token_version=columns.token_version + 1)
        is_account = columns.id == _ACCOUNT_ID
        sign_out = revoke.where(is_account, columns.token_version == bindparam("version"))
        sign_in = revoke.values(password_hash=bindparam("new_hash")).where(
            is_account, columns.password_hash == bindparam("checked_hash")
        )
        reset = revoke.values(password_hash=bindparam("new_hash")).where(*is_open)
        returned = (columns.id, columns.token_version)
        self._sign_out = _record(sign_out.returning(*returned), "signed_out")
        self._sign_in = _record(sign_in.returning(*returned), "signed_in")
        self._reset = _record(reset.returning(*returned), "password_reset", ends_resets=True)
        self._recover = Statement(_recover(table, kind))

    def find_credentials_by_email(self, connection: Connection, email: str) -> Credentials | None:
        """Return the credentials of an account; case is ignored."""
        account_id = find_account_id(connection, self._kind, email)
        # The second statement is sent for an unknown address too.
        return self.find_credentials(connection, account_id or uuid4())

    def find_credentials(self, connection: Connection, account_id: UUID) -> Credentials | None:
        """Return the credentials of an account; None if it is missing or closed."""
        row = self._find_credentials.row(connection, {"account_id": account_id})
        return None if row is None else Credentials(*row)

    def insert_account(self, connection: Connection, account_id: UUID, values: Mapping[str, Any]) -> int | None:
        """Insert an account and return its token version; None if the e-mail address is taken."""
        row = {"id": account_id, **values, "email_key": fold(values["email"])}
        version: int | None = self._insert.value(connection, row)
        return version

    def update_token_version(
        self, connection: Connection, account_id: UUID, *, checked_hash: str, new_hash: str
    ) -> int | None:
        """Revoke all tokens and return the version of the next; None if `checked_hash` is outdated."""
        values = {"account_id": account_id, "checked_hash": checked_hash, "new_hash": new_hash}
        version: int | None = self._sign_in.value(connection, values)
        return version

    def delete_tokens(self, connection: Connection, account_id: UUID, version: int) -> None:
        """Revoke the tokens of a version."""
        self._sign_out.row(connection, {"account_id": account_id, "version": version})

    def update_password(self, connection: Connection, email: str, *, new_hash: str) -> bool:
        """Replace the password for an operator, and revoke all tokens; False: there is no such account."""
        account_id = find_account_id(connection, self._kind, email)
        return self._reset.row(connection, {"account_id": account_id, "new_hash": new_hash}) is not None

    def claim_password_reset(
        self, connection: Connection, account_id: UUID, *, digest: bytes, now: datetime, new_hash: str
    ) -> str | None:
        """Use up a reset: replace the password, revoke all tokens and return the e-mail address.

        None: the account has no open reset with this digest, or is closed.
        """
        values = {"account_id": account_id, "digest": digest, "now": now, "new_hash": new_hash}
        email: str | None = self._recover.value(connection, values)
        return email


def _record(change: ReturningUpdate[Any], event: str, *, ends_resets: bool = False) -> Statement:
    changed = change.cte("changed")
    statement = select(changed.c.token_version).add_cte(record_event(changed, event))
    return Statement(statement.add_cte(end_resets(changed, _ACCOUNT_ID)) if ends_resets else statement)


def _insert(table: Table, kind: str) -> Select[Any]:
    """Return the statement that takes the address, and then inserts the account."""
    address = insert_address(kind)
    names = [column.name for column in table.c if column.server_default is None]
    parameters = {name: bindparam(name, type_=table.c[name].type) for name in names} | {"email_key": EMAIL_KEY}
    row = select(*(address.c.id if name == "id" else parameters[name] for name in names))
    account = insert(table).from_select(names, row).returning(table.c.id, table.c.token_version).cte("account")
    statement = select(account.c.token_version).add_cte(record_event(account, "signed_up"))
    return statement.add_cte(insert_name(account, parameters["name"])) if table is companies else statement


def _recover(table: Table, kind: str) -> Select[Any]:
    """Return the statement that uses up a reset. It locks the account first, as the closing of an account does."""
    columns, reset = table.c, password_resets.c
    account = (
        select(columns.id)
        .where(columns.id == _ACCOUNT_ID, columns.password_hash.is_not(None))
        .with_for_update(key_share=True)
        .cte("account")
    )
    used = (
        delete(password_resets)
        .where(
            reset.account_id == account.c.id,
            reset.account_id == _ACCOUNT_ID,
            reset.kind == bindparam("kind", kind, Text),
            reset.digest == bindparam("digest", type_=LargeBinary),
            reset.expires_at > bindparam("now", type_=DateTime(timezone=True)),
        )
        .returning(reset.account_id)
        .cte("used")
    )
    changed = (
        update(table)
        .where(columns.id == used.c.account_id, columns.id == _ACCOUNT_ID)
        .values(password_hash=bindparam("new_hash", type_=Text), token_version=columns.token_version + 1)
        .returning(columns.id, columns.email)
        .cte("changed")
    )
    return select(changed.c.email).add_cte(record_event(changed, "password_recovered"))


COMPANY_ACCOUNTS = Accounts(companies, "company")
USER_ACCOUNTS = Accounts(users, "user")
