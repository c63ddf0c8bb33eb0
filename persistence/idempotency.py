"""Stored responses by idempotency key, inserted in the transaction of the effect."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Connection, DateTime, Text, Uuid, and_, bindparam, delete, func, insert, select, tuple_

from persistence.database.statements import Statement, as_json
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
_EXPIRED = (
    select(*_IDENTITY)
    .where(_COLUMNS.expires_at <= _NOW)
    .order_by(_COLUMNS.expires_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
    .cte("expired")
)
_DELETED = (
    delete(stored_responses)
    .where(tuple_(*_IDENTITY).in_(select(*_EXPIRED.c)))
    .returning(_COLUMNS.account_id)
    .cte("deleted")
)
_NAMES = [column.name for column in _COLUMNS]
_ARRAYS = (bindparam(f"{column.name}s", type_=ARRAY(column.type)) for column in _COLUMNS)
_ROWS = func.unnest(*_ARRAYS).table_valued(*_NAMES, name="rows").render_derived()
_INSERT = Statement(insert(stored_responses).from_select(_NAMES, select(*_ROWS.c)))
_DELETE_EXPIRED = Statement(select(func.count()).select_from(_DELETED))


def find_response(connection: Connection, key: IdempotencyKey, now: datetime) -> StoredResponse | None:
    """Return the response, or None if there is none or it has expired."""
    values = {"account": key.account_id, "operation_id": key.operation, "header": key.key, "now": now}
    row = _FIND.row(connection, values)
    return None if row is None else StoredResponse(*row)


def insert_responses(connection: Connection, responses: Sequence[tuple[IdempotencyKey, int, Any]]) -> None:
    """Store responses by key, status and body; a used key raises ConcurrentRequest."""
    rows = [{**vars(key), "status": status, "body": as_json(body)} for key, status, body in responses]
    _INSERT.count(connection, {f"{name}s": [row[name] for row in rows] for name in _NAMES})


def delete_expired(connection: Connection, now: datetime, *, limit: int) -> int:
    """Delete the oldest expired responses, except locked ones, and return how many."""
    return int(_DELETE_EXPIRED.value(connection, {"now": now, "limit": limit}))
