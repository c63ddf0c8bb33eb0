"""The company that sent a request, and the closing of companies.

Every change of a promo locks its company. So the statement that closes a company waits for such changes, and none
follows it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Boolean,
    Connection,
    LargeBinary,
    Select,
    Text,
    Uuid,
    bindparam,
    case,
    func,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import array

from persistence.accounts.ended_resets import end_resets
from persistence.accounts.events import record_event
from persistence.database.statements import Statement, new_value
from persistence.schema.key_tables import api_key_digests, api_keys
from persistence.schema.tables import companies
from promo_api.folding import fold


@dataclass(frozen=True)
class Company:
    """A company."""

    id: UUID
    name: str
    email: str
    token_version: int


@dataclass(frozen=True)
class KeyCompany(Company):
    """A company whose program sent a request with an API key."""

    key_id: UUID


@dataclass(frozen=True)
class StoredKey:
    """An API key and its company; None: the company is closed."""

    company: KeyCompany | None
    scopes: Sequence[str]
    expires_at: datetime | None
    last_used_at: datetime | None
    is_revoked: bool


_ID = bindparam("id", type_=Uuid)
_IS_OPEN = companies.c.password_hash.is_not(None)
_COMPANY = select(*(companies.c[name] for name in Company.__dataclass_fields__))
_FIND = Statement(_COMPANY.where(companies.c.id == _ID, _IS_OPEN))
_FIND_BY_EMAIL = Statement(_COMPANY.where(companies.c.email_key == bindparam("email_key")))
_CLAIM = Statement(
    select(companies.c.id).where(companies.c.id == _ID, _IS_OPEN).with_for_update(read=True, key_share=True)
)
_LOCK = Statement(_COMPANY.where(companies.c.id == _ID, _IS_OPEN).with_for_update(key_share=True))


def _find_by_key() -> Select[Any]:
    key = (api_keys.c.scopes, api_keys.c.expires_at, api_keys.c.last_used_at, api_keys.c.revoked_at.is_not(None))
    company = [companies.c[name] for name in Company.__dataclass_fields__]
    is_key = (api_keys.c.company_id == api_key_digests.c.company_id) & (api_keys.c.id == api_key_digests.c.id)
    is_open_company = (companies.c.id == api_keys.c.company_id) & companies.c.password_hash.is_not(None)
    return (
        select(*company, api_keys.c.id, *key)
        .join_from(api_key_digests, api_keys, is_key)
        .outerjoin(companies, is_open_company)
        .where(api_key_digests.c.digest == bindparam("digest", type_=LargeBinary))
    )


def _close() -> Select[Any]:
    # The lock of an UPDATE would not conflict with that of a claim.
    locked = select(companies.c.id).where(companies.c.id == _ID, _IS_OPEN).with_for_update().cte("locked")
    closed = (
        update(companies)
        .where(companies.c.id == locked.c.id)
        .values(password_hash=null(), token_version=0)
        .returning(companies.c.id)
        .cte("account")
    )
    return select(closed.c.id).add_cte(record_event(closed, companies, "closed"), end_resets(closed))


_FIND_BY_KEY = Statement(_find_by_key())
_CLOSE = Statement(_close())
_DELETE_EMAIL = Statement(
    update(companies).where(companies.c.id == _ID, ~_IS_OPEN).values(email=null(), email_key=null())
)


def find_company(connection: Connection, company_id: UUID) -> Company | None:
    """Return the company; None if it does not exist or is closed."""
    row = _FIND.row(connection, {"id": company_id})
    return None if row is None else Company(*row)


def find_key(connection: Connection, digest: bytes) -> StoredKey | None:
    """Return the key with a digest, even if it is revoked; None if there is none, or it was revoked long ago."""
    row = _FIND_BY_KEY.row(connection, {"digest": digest})
    if row is None:
        return None
    size = len(KeyCompany.__dataclass_fields__)
    company, key = row[:size], row[size:]
    return StoredKey(None if company[0] is None else KeyCompany(*company), *key)


def find_company_by_email(connection: Connection, email: str) -> Company | None:
    """Return the company, also if it is closed but still has its e-mail address; case is ignored."""
    row = _FIND_BY_EMAIL.row(connection, {"email_key": fold(email)})
    return None if row is None else Company(*row)


def update_company(
    connection: Connection,
    company: Company,
    changes: Mapping[str, Any],
    *,
    any_name: bool = True,
    checked_hash: str | None = None,
) -> Company | None:
    """Change the name or password_hash, record it and return the company.

    None: nothing was changed, because the tokens of the company are revoked, its hash is not `checked_hash`, or, unless
    `any_name`, its name has changed.
    """
    values = {f"new_{name}": value for name, value in changes.items()}
    conditions = {
        "id": company.id,
        "checked_version": company.token_version,
        "any_name": any_name,
        "old_name": company.name,
        "checked_hash": checked_hash,
    }
    row = _update(frozenset(changes)).row(connection, {**conditions, **values})
    return None if row is None else Company(*row)


@cache
def _update(columns: frozenset[str]) -> Statement:
    checked_hash = bindparam("checked_hash", type_=Text)
    # Locked, so that concurrent changes wait. A closed company has another version.
    before = (
        select(companies)
        .where(
            companies.c.id == _ID,
            companies.c.token_version == bindparam("checked_version"),
            or_(bindparam("any_name", type_=Boolean), companies.c.name == bindparam("old_name", type_=Text)),
            or_(checked_hash.is_(None), companies.c.password_hash == checked_hash),
        )
        .with_for_update(key_share=True)
        .cte("before")
    )
    is_renamed = case((companies.c.name.is_distinct_from(before.c.name), "name"))
    fields = [companies.c[name] for name in Company.__dataclass_fields__]
    members = func.array_remove(array[Any]([is_renamed], type_=Text()), None, type_=ARRAY(Text))
    changed = (
        update(companies)
        .where(companies.c.id == before.c.id)
        .values({name: new_value(companies.c[name]) for name in columns})
        .returning(*fields, members.label("members"))
        .cte("changed")
    )
    statement = select(*(changed.c[column.name] for column in fields)).add_cte(
        record_event(changed, companies, "profile_changed", members=changed.c.members)
    )
    if "password_hash" in columns:
        statement = statement.add_cte(record_event(changed, companies, "password_changed"), end_resets(changed))
    return Statement(statement)


def claim_company(connection: Connection, company_id: UUID) -> bool:
    """Keep the company from being closed until the end of the transaction; False if it is closed."""
    return _CLAIM.row(connection, {"id": company_id}) is not None


def claim_company_exclusively(connection: Connection, company_id: UUID) -> Company | None:
    """Lock the company until the end of the transaction, and return it; None if it does not exist or is closed.

    The lock does not conflict with `claim_company`, so changes of promos go on.
    """
    row = _LOCK.row(connection, {"id": company_id})
    return None if row is None else Company(*row)


def close_company(connection: Connection, company_id: UUID) -> bool:
    """Remove the password and revoke all tokens; False if the company is closed already."""
    return _CLOSE.row(connection, {"id": company_id}) is not None


def delete_company_email(connection: Connection, company_id: UUID) -> None:
    """Remove the e-mail address of a closed company."""
    _DELETE_EMAIL.count(connection, {"id": company_id})
