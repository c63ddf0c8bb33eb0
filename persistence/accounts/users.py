"""The user that sent a request, and changes of the profile."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Connection, FromClause, Text, Uuid, bindparam, case, func, select, update
from sqlalchemy.dialects.postgresql import array

from persistence.accounts.ended_resets import end_resets
from persistence.accounts.events import record_event
from persistence.accounts.profiles import PROFILE_COLUMNS, Profile, has_profile, profile_values
from persistence.database.statements import Statement, new_value
from persistence.schema.tables import users


@dataclass(frozen=True)
class User:
    """A user; `country_key` is the case-folded country."""

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
_ID = bindparam("id", type_=Uuid)
_FIND = Statement(select(*_COLUMNS).where(users.c.id == _ID, users.c.email_key.is_not(None)))


def find_user(connection: Connection, user_id: UUID) -> User | None:
    """Return the user; None if missing or closed."""
    row = _FIND.row(connection, {"id": user_id})
    return None if row is None else User(*row)


def update_user(
    connection: Connection,
    user_id: UUID,
    changes: Mapping[str, Any],
    *,
    token_version: int,
    old_profile: Profile | None = None,
) -> User | None:
    """Change the profile or password_hash, record it and return the user.

    None: nothing was changed, because the tokens of the version are revoked, or the user does not have `old_profile`.
    """
    values = {f"new_{name}": value for name, value in changes.items()}
    conditions = {"id": user_id, "checked_version": token_version, **profile_values(old_profile)}
    row = _update(frozenset(changes)).row(connection, {**conditions, **values})
    return None if row is None else User(*row)


@cache
def _update(columns: frozenset[str]) -> Statement:
    # Locked, so that concurrent changes wait. A closed account has another version.
    before = (
        select(users)
        .where(
            users.c.id == _ID,
            users.c.token_version == bindparam("checked_version"),
            has_profile(),
        )
        .with_for_update(key_share=True)
        .cte("before")
    )
    changed = (
        update(users)
        .where(users.c.id == before.c.id, users.c.id == _ID)
        .values({name: new_value(users.c[name]) for name in columns})
        .returning(*_COLUMNS, _changed_members(before).label("members"))
        .cte("changed")
    )
    statement = select(*(changed.c[column.name] for column in _COLUMNS)).add_cte(
        record_event(changed, "profile_changed", members=changed.c.members)
    )
    if "password_hash" in columns:
        statement = statement.add_cte(record_event(changed, "password_changed"), end_resets(changed, _ID))
    return Statement(statement)


def _changed_members(before: FromClause) -> ColumnElement[Any]:
    names = [case((users.c[name].is_distinct_from(before.c[name]), name)) for name in PROFILE_COLUMNS]
    return func.array_remove(array[Any](names, type_=Text()), None, type_=ARRAY(Text))
