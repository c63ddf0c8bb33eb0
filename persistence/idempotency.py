"""Stored responses by idempotency key, inserted in the transaction of the effect."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    DateTime,
    Text,
    Uuid,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    tuple_,
)

from persistence.database.statements import Statement, as_json, is_distributed
from persistence.schema.tables import stored_responses


@dataclass(frozen=True)
class IdempotencyKey:
    """The key of a request, whose fingerprint keeps other requests from reusing it."""

    account_id: UUID
    operation: str
    key: str
    fingerprint: bytes
    expires_at: datetime


@dataclass(frozen=True)
class StoredResponse:
    """The response to the request with this fingerprint."""

    fingerprint: bytes
    status: int
    body: Any


_COLUMNS = stored_responses.c
_KEY = and_(
    _COLUMNS.account_id == bindparam("account", type_=Uuid),
    _COLUMNS.operation == bindparam("operation_id", type_=Text),
    _COLUMNS.key == bindparam("header", type_=Text),
)
_NOW = bindparam("now", type_=DateTime(timezone=True))
# Also frees an expired key before the sweeper does.
_FIND = Statement(
    select(_COLUMNS.fingerprint, _COLUMNS.status, _COLUMNS.body)
    .where(_KEY, _COLUMNS.expires_at > _NOW)
    .add_cte(delete(stored_responses).where(_KEY, _COLUMNS.expires_at <= _NOW).cte("expired"))
)
_IDENTITY = (_COLUMNS.account_id, _COLUMNS.operation, _COLUMNS.key)
_LIMIT, _IS_EXPIRED = bindparam("limit", type_=BigInteger), _COLUMNS.expires_at <= _NOW


def _delete_expired(*conditions: ColumnElement[bool]) -> Statement:
    expired = (
        select(*_IDENTITY)
        .where(*conditions, _IS_EXPIRED)
        .order_by(_COLUMNS.expires_at)
        .limit(_LIMIT)
        .with_for_update(skip_locked=True)
        .cte("expired")
    )
    return Statement(delete(stored_responses).where(*conditions, tuple_(*_IDENTITY).in_(select(*expired.c))))


_DELETE_EXPIRED = _delete_expired()
_DELETE_EXPIRED_OF_ACCOUNT = _delete_expired(_COLUMNS.account_id == bindparam("account", type_=Uuid))
_oldest = select(_COLUMNS.account_id).where(_IS_EXPIRED).order_by(_COLUMNS.expires_at).limit(_LIMIT).subquery("oldest")
_LIST_EXPIRED = Statement(select(_oldest.c.account_id, func.count()).group_by(_oldest.c.account_id))
_NAMES = [column.name for column in _COLUMNS]
_ARRAYS = (bindparam(f"{column.name}s", type_=ARRAY(column.type)) for column in _COLUMNS)
_ROWS = func.unnest(*_ARRAYS).table_valued(*_NAMES, name="rows").render_derived()
_INSERT = Statement(insert(stored_responses).from_select(_NAMES, select(*_ROWS.c)))
_INSERT_ONE = Statement(
    insert(stored_responses).values({name: bindparam(f"new_{name}", type_=_COLUMNS[name].type) for name in _NAMES})
)


def find_response(connection: Connection, key: IdempotencyKey, now: datetime) -> StoredResponse | None:
    """Return the response, or None if there is none or it has expired."""
    values = {"account": key.account_id, "operation_id": key.operation, "header": key.key, "now": now}
    row = _FIND.row(connection, values)
    return None if row is None else StoredResponse(*row)


def insert_responses(connection: Connection, responses: Sequence[tuple[IdempotencyKey, int, Any]]) -> None:
    """Store responses by key, status and body; a used key raises ConcurrentRequest."""
    rows = [{**vars(key), "status": status, "body": as_json(body)} for key, status, body in responses]
    if not is_distributed(connection):
        _INSERT.count(connection, {f"{name}s": [row[name] for row in rows] for name in _NAMES})
        return
    # Citus copies the rows of a query, and then reports a used key as an internal error.
    for row in rows:
        _INSERT_ONE.count(connection, {f"new_{name}": row[name] for name in _NAMES})


def delete_expired(connection: Connection, now: datetime, *, limit: int) -> int:
    """Delete the oldest expired responses, except locked ones, and return how many."""
    values = {"now": now, "limit": limit}
    if not is_distributed(connection):
        return _DELETE_EXPIRED.count(connection, values)
    # Citus locks only rows of one account at a time. PostgreSQL would take much longer this way.
    return sum(
        _DELETE_EXPIRED_OF_ACCOUNT.count(connection, {"now": now, "account": account_id, "limit": count})
        for account_id, count in _LIST_EXPIRED.rows(connection, values)
    )
