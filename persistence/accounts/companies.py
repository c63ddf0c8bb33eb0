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

from persistence.accounts.addresses import EMAIL_KEY, delete_address, find_account_id
from persistence.accounts.company_names import update_name
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
_FIND_ANY = Statement(_COMPANY.where(companies.c.id == _ID, companies.c.email_key.is_not(None)))
_CLAIM = Statement(
    select(companies.c.id).where(companies.c.id == _ID, _IS_OPEN).with_for_update(read=True, key_share=True)
)
_LOCK = Statement(_COMPANY.where(companies.c.id == _ID, _IS_OPEN).with_for_update(key_share=True))


def _find_key() -> Select[Any]:
    key = (api_keys.c.scopes, api_keys.c.expires_at, api_keys.c.last_used_at, api_keys.c.revoked_at.is_not(None))
    company = [companies.c[name] for name in Company.__dataclass_fields__]
    is_open_company = (companies.c.id == _ID) & companies.c.password_hash.is_not(None)
    is_key = (api_keys.c.company_id == _ID, api_keys.c.id == bindparam("key_id", type_=Uuid))
    return (
        select(*company, api_keys.c.id, *key).select_from(api_keys.outerjoin(companies, is_open_company)).where(*is_key)
    )


def _close() -> Select[Any]:
    # The lock of an UPDATE would not conflict with that of a claim.
    locked = select(companies.c.id).where(companies.c.id == _ID, _IS_OPEN).with_for_update().cte("locked")
    closed = (
        update(companies)
        .where(companies.c.id == locked.c.id, companies.c.id == _ID)
        .values(password_hash=null(), token_version=0)
        .returning(companies.c.id)
        .cte("account")
    )
    return select(closed.c.id).add_cte(record_event(closed, "closed"), end_resets(closed, _ID))


def _delete_email() -> Select[Any]:
    is_closed = (companies.c.id == _ID, companies.c.email_key == EMAIL_KEY, ~_IS_OPEN)
    changed = update(companies).where(*is_closed).values(email=null(), email_key=null())
    account = changed.returning(companies.c.id).cte("account")
    return select(account.c.id).add_cte(delete_address("company", account))


_FIND_KEY = Statement(_find_key())
_FIND_KEY_ID = Statement(
    select(api_key_digests.c.company_id, api_key_digests.c.id).where(
        api_key_digests.c.digest == bindparam("digest", type_=LargeBinary)
    )
)
_CLOSE = Statement(_close())
_DELETE_EMAIL = Statement(_delete_email())


def find_company(connection: Connection, company_id: UUID) -> Company | None:
    """Return the company; None if it does not exist or is closed."""
    row = _FIND.row(connection, {"id": company_id})
    return None if row is None else Company(*row)


def find_key_id(connection: Connection, digest: bytes) -> tuple[UUID, UUID] | None:
    """Return the ids of the company and of the key with a digest, which never change; None if there is none."""
    row = _FIND_KEY_ID.row(connection, {"digest": digest})
    return None if row is None else (row[0], row[1])


def find_key(connection: Connection, company_id: UUID, key_id: UUID) -> StoredKey | None:
    """Return a key, even if it is revoked; None if there is none, or it was revoked long ago."""
    row = _FIND_KEY.row(connection, {"id": company_id, "key_id": key_id})
    if row is None:
        return None
    size = len(KeyCompany.__dataclass_fields__)
    company, key = row[:size], row[size:]
    return StoredKey(None if company[0] is None else KeyCompany(*company), *key)


def find_company_by_email(connection: Connection, email: str) -> Company | None:
    """Return the company, also if it is closed but still has its e-mail address; case is ignored."""
    company_id = find_account_id(connection, "company", email)
    row = _FIND_ANY.row(connection, {"id": company_id})
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
        .where(companies.c.id == before.c.id, companies.c.id == _ID)
        .values({name: new_value(companies.c[name]) for name in columns})
        .returning(*fields, members.label("members"))
        .cte("changed")
    )
    statement = select(*(changed.c[column.name] for column in fields)).add_cte(
        record_event(changed, "profile_changed", members=changed.c.members)
    )
    if "name" in columns:
        statement = statement.add_cte(update_name(changed))
    if "password_hash" in columns:
        statement = statement.add_cte(record_event(changed, "password_changed"), end_resets(changed, _ID))
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


def delete_company_email(connection: Connection, company_id: UUID, email: str) -> None:
    """Remove the e-mail address of a closed company, and free it."""
    _DELETE_EMAIL.row(connection, {"id": company_id, "email_key": fold(email)})
