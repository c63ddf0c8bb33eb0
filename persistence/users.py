"""Users, as their requests need them; their sign-in is in `accounts`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, select, update

from persistence.prepared import Prepared
from persistence.tables import users


@dataclass(frozen=True)
class User:
    """A user. `country` is as given at sign-up, `country_key` its case-folded form; avatar_url None: no avatar."""

    id: UUID
    name: str
    surname: str
    email: str
    avatar_url: str | None
    age: int
    country: str
    country_key: str
    token_version: int


_COLUMNS = [users.c[name] for name in User.__dataclass_fields__]
_FIND = Prepared(select(*_COLUMNS).where(users.c.id == bindparam("id")))


def find_user(connection: Connection, user_id: UUID) -> User | None:
    """Return the user, or None if there is none of this id."""
    row = _FIND.row(connection, {"id": user_id})
    return None if row is None else User(*row)


def update_user(connection: Connection, user_id: UUID, changes: Mapping[str, Any]) -> User | None:
    """Change columns of a user and return it as it is then; None if there is none of this id.

    `changes` has one or more of name, surname, avatar_url, password_hash.
    """
    statement = update(users).where(users.c.id == user_id).values(**changes).returning(*_COLUMNS)
    row = connection.execute(statement).one_or_none()
    return None if row is None else User(*row)
