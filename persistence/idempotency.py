"""Stored responses by idempotency key, written in the transaction of the effect that they describe."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Connection, DateTime, Text, Uuid, and_, bindparam, delete, func, insert, select, tuple_

from persistence.database.statements import Statement, as_json
from persistence.schema.tables import kept_answers


@dataclass(frozen=True)
class IdempotencyKey:
    """The identity of a request that may be repeated.

    Attributes:
        account_id: the company or user that sends it.
        operation: the operationId.
        key: the header's value.
        fingerprint: a digest of the request; another request must not reuse the key.
        expires_at: when the stored response may be deleted.
    """

    account_id: UUID
    operation: str
    key: str
    fingerprint: bytes
    expires_at: datetime


@dataclass(frozen=True)
class StoredResponse:
    """The response to an earlier request: the fingerprint of the request, the status, and the body as JSON."""

    fingerprint: bytes
    status: int
    body: Any


_COLUMNS = kept_answers.c
_KEY = and_(
    _COLUMNS.account_id == bindparam("account", type_=Uuid),
    _COLUMNS.operation == bindparam("name", type_=Text),
    _COLUMNS.key == bindparam("chosen", type_=Text),
)
_NOW = bindparam("now", type_=DateTime(timezone=True))
# Also deletes an expired response, so that its key can be used again before the sweeper runs.
_FIND = Statement(
    select(_COLUMNS.fingerprint, _COLUMNS.status, _COLUMNS.body)
    .where(_KEY, _COLUMNS.expires_at > _NOW)
    .add_cte(delete(kept_answers).where(_KEY, _COLUMNS.expires_at <= _NOW).cte("expired"))
)
_IDENTITY = (_COLUMNS.account_id, _COLUMNS.operation, _COLUMNS.key)
_EXPIRED = (
    select(*_IDENTITY)
    .where(_COLUMNS.expires_at <= _NOW)
    .order_by(_COLUMNS.expires_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
    .cte("expired")
)
_SWEEP = (
    delete(kept_answers)
    .where(tuple_(*_IDENTITY).in_(select(*_EXPIRED.c)))
    .returning(_COLUMNS.account_id)
    .cte("deleted")
)
_NAMES = [column.name for column in _COLUMNS]
_ARRAYS = (bindparam(f"{column.name}s", type_=ARRAY(column.type)) for column in _COLUMNS)
_ROWS = func.unnest(*_ARRAYS).table_valued(*_NAMES, name="rows").render_derived()
_INSERT = Statement(insert(kept_answers).from_select(_NAMES, select(*_ROWS.c)))
_COUNT_SWEPT = Statement(select(func.count()).select_from(_SWEEP))


def find_response(connection: Connection, key: IdempotencyKey, now: datetime) -> StoredResponse | None:
    """Return the response that is stored under the key and has not expired at `now`."""
    values = {"account": key.account_id, "name": key.operation, "chosen": key.key, "now": now}
    row = _FIND.row(connection, values)
    return None if row is None else StoredResponse(*row)


def insert_responses(connection: Connection, responses: Sequence[tuple[IdempotencyKey, int, Any]]) -> None:
    """Store responses: key, status and body of each.

    Raises:
        promo_api.errors.ConcurrentRequest: from the block that lends the connection, if a concurrent request has used
            one of the keys. The transaction is rolled back.
    """
    rows = [{**vars(key), "status": status, "body": as_json(body)} for key, status, body in responses]
    _INSERT.count(connection, {f"{name}s": [row[name] for row in rows] for name in _NAMES})


def delete_expired(connection: Connection, now: datetime, *, limit: int) -> int:
    """Delete up to `limit` responses that have expired at `now`, oldest first, and return how many.

    Skips rows that another process is deleting.
    """
    return int(_COUNT_SWEPT.value(connection, {"now": now, "most": limit}))
