"""API keys of companies.

Changes lock the company, see `claim_company_exclusively`, so that concurrent creations cannot exceed the limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Connection,
    DateTime,
    LargeBinary,
    Select,
    Text,
    Uuid,
    any_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from persistence.accounts.events import record_event
from persistence.database.statements import Statement
from persistence.schema.key_tables import api_key_digests, api_keys


@dataclass(frozen=True)
class ApiKey:
    """An API key, without the key itself."""

    id: UUID
    name: str
    prefix: str
    scopes: Sequence[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


_KEY = api_keys.c
_COMPANY_ID, _ID = bindparam("company", type_=Uuid), bindparam("id", type_=Uuid)
_DIGEST = bindparam("digest", type_=LargeBinary)
_MINUTE = bindparam("minute", type_=DateTime(timezone=True))
_IS_OF_COMPANY = _KEY.company_id == _COMPANY_ID
_IS_USABLE = _KEY.revoked_at.is_(None)
_COLUMNS = [_KEY[name] for name in ApiKey.__dataclass_fields__]


def _insert() -> Select[Any]:
    """Return the statement that inserts a key, unless the company has reached the limit.

    It runs after the lock, so that its snapshot has all keys.
    """
    values = {
        "company_id": _COMPANY_ID,
        "id": _ID,
        "digest": _DIGEST,
        "name": bindparam("name", type_=Text),
        "prefix": bindparam("prefix", type_=Text),
        "scopes": bindparam("scopes", type_=ARRAY(Text)),
        "expires_at": bindparam("expires_at", type_=DateTime(timezone=True)),
    }
    count = select(func.count()).where(_IS_OF_COMPANY, _IS_USABLE).scalar_subquery()
    row = select(*values.values()).where(count < bindparam("limit"))
    inserted = insert(api_keys).from_select([*values], row).returning(*api_keys.c).cte("inserted")
    digest = insert(api_key_digests).from_select(
        ["digest", "company_id", "id"], select(inserted.c.digest, inserted.c.company_id, inserted.c.id)
    )
    columns = [inserted.c[name] for name in ApiKey.__dataclass_fields__]
    return select(*columns).add_cte(digest.cte("digest"), _record(inserted, "key_created"))


def _revoke() -> Select[Any]:
    revoked = (
        update(api_keys)
        .where(_IS_OF_COMPANY, _KEY.id == _ID, _IS_USABLE)
        .values(revoked_at=func.statement_timestamp())
        .returning(_KEY.company_id, _KEY.id)
        .cte("revoked")
    )
    return select(revoked.c.id).add_cte(_record(revoked, "key_revoked"))


def _record(changed: Any, event: str) -> Any:
    owner = select(changed.c.company_id.label("id"), changed.c.id.label("key_id")).cte(f"owner_of_{event}")
    return record_event(owner, event, key_id=owner.c.key_id)


_LIST = Statement(select(*_COLUMNS).where(_IS_OF_COMPANY, _IS_USABLE).order_by(_KEY.created_at.desc(), _KEY.id.desc()))
_INSERT = Statement(_insert())
_REVOKE = Statement(_revoke())
_LONG_REVOKED = (
    select(_KEY.id)
    .where(_IS_OF_COMPANY, _KEY.revoked_at.is_not(None))
    .order_by(_KEY.revoked_at.desc(), _KEY.id)
    .offset(bindparam("limit"))
)
_DELETE_LONG_REVOKED = Statement(
    delete(api_keys).where(_IS_OF_COMPANY, _KEY.id.in_(_LONG_REVOKED)).returning(_KEY.digest)
)
_DELETE_ALL = Statement(delete(api_keys).where(_IS_OF_COMPANY).returning(_KEY.digest))
_DELETE_DIGESTS = Statement(
    delete(api_key_digests).where(api_key_digests.c.digest == any_(bindparam("digests", type_=ARRAY(LargeBinary))))
)
_UPDATE_LAST_USE = Statement(
    update(api_keys)
    .where(_IS_OF_COMPANY, _KEY.id == _ID, or_(_KEY.last_used_at.is_(None), _KEY.last_used_at < _MINUTE))
    .values(last_used_at=_MINUTE)
)


def list_keys(connection: Connection, company_id: UUID) -> list[ApiKey]:
    """Return the keys of a company, also expired ones, newest first."""
    return [ApiKey(*row) for row in _LIST.rows(connection, {"company": company_id})]


def insert_key(connection: Connection, company_id: UUID, key_id: UUID, *, limit: int, **values: Any) -> ApiKey | None:
    """Insert a key and return it; None if the company has `limit` keys. The company must be locked."""
    row = _INSERT.row(connection, {"company": company_id, "id": key_id, "limit": limit, **values})
    return None if row is None else ApiKey(*row)


def close_key(connection: Connection, company_id: UUID, key_id: UUID) -> bool:
    """Revoke a key of a company; False if it has no such key. The company must be locked."""
    return _REVOKE.row(connection, {"company": company_id, "id": key_id}) is not None


def delete_revoked_keys(connection: Connection, company_id: UUID, *, limit: int) -> None:
    """Delete the revoked keys of a company but the last `limit`, in a transaction. The company must be locked."""
    _delete(connection, _DELETE_LONG_REVOKED, {"company": company_id, "limit": limit})


def delete_keys(connection: Connection, company_id: UUID) -> None:
    """Delete all keys of a closed company, in a transaction."""
    _delete(connection, _DELETE_ALL, {"company": company_id})


def update_last_use(connection: Connection, company_id: UUID, key_id: UUID, minute: datetime) -> None:
    """Record the minute of the last use of a key, unless this or a later one is recorded."""
    _UPDATE_LAST_USE.count(connection, {"company": company_id, "id": key_id, "minute": minute})


def _delete(connection: Connection, statement: Statement, values: dict[str, Any]) -> None:
    """Delete keys, and the digests that find them."""
    digests = [row[0] for row in statement.rows(connection, values)]
    if digests:
        _DELETE_DIGESTS.count(connection, {"digests": digests})
