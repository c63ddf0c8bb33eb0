"""E-mail addresses of accounts: unique in each kind, without regard to case.

The first statement of a sign-in finds the account of an address, the second reads the account by its id. So both are
sent for an unknown address too, the second with an id that no account has. Lock order: a sign-up inserts the address
before the account; a close deletes the account before the address, and holds no other address.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, Connection, FromClause, Text, Uuid, bindparam, delete, literal_column, select
from sqlalchemy.dialects.postgresql import insert

from persistence.database.statements import Statement
from persistence.schema.tables import addresses
from promo_api.folding import fold

EMAIL_KEY = bindparam("email_key", type_=Text)
_KIND = bindparam("kind", type_=Text)
_FIND = Statement(select(addresses.c.account_id).where(addresses.c.email_key == EMAIL_KEY, addresses.c.kind == _KIND))


def find_account_id(connection: Connection, kind: str, email: str) -> UUID | None:
    """Return the id of the account with an address, which may be a closed company; None: there is none."""
    account_id: UUID | None = _FIND.value(connection, {"email_key": fold(email), "kind": kind})
    return account_id


def insert_address(kind: str) -> CTE:
    """Return the part of a sign-up that takes the address EMAIL_KEY. It returns the account id, or no row."""
    values = {"email_key": EMAIL_KEY, "kind": _literal(kind), "account_id": bindparam("id", type_=Uuid)}
    taken = insert(addresses).values(**values).on_conflict_do_nothing()
    return taken.returning(addresses.c.account_id.label("id")).cte("address")


def delete_address(kind: str, account: FromClause) -> CTE:
    """Return the part of a statement that frees the address EMAIL_KEY of the accounts."""
    is_address = (addresses.c.email_key == EMAIL_KEY, addresses.c.kind == _literal(kind))
    of_account = addresses.c.account_id.in_(select(account.c.id))
    return delete(addresses).where(*is_address, of_account).cte("freed")


def _literal(kind: str) -> ColumnElement[Any]:
    return literal_column(f"'{kind}'", Text)
