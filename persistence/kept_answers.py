"""Answers that are kept with what they tell of, so that a request that comes again is not carried out again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Connection, DateTime, Text, Uuid, and_, bindparam, delete, func, insert, select, tuple_

from persistence.database.statements import Statement, as_json
from persistence.schema.tables import kept_answers


@dataclass(frozen=True)
class RepeatKey:
    """What a request is known by when it comes again.

    Attributes:
        account_id: who asks, a company or a user.
        operation: the operationId.
        key: as the client chose it.
        fingerprint: a digest of the request, which tells whether it is the same one.
        expires_at: when its answer may be forgotten.
    """

    account_id: UUID
    operation: str
    key: str
    fingerprint: bytes
    expires_at: datetime


@dataclass(frozen=True)
class KeptAnswer:
    """The answer to an earlier request: its status, its body as JSON, and the fingerprint of that request."""

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
# What has expired goes on the way, so that its key can be taken again before the sweep has come to it.
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
    delete(kept_answers).where(tuple_(*_IDENTITY).in_(select(*_EXPIRED.c))).returning(_COLUMNS.account_id).cte("swept")
)
_NAMES = [column.name for column in _COLUMNS]
_ARRAYS = (bindparam(f"{column.name}s", type_=ARRAY(column.type)) for column in _COLUMNS)
_GIVEN = func.unnest(*_ARRAYS).table_valued(*_NAMES, name="given").render_derived()
_INSERT = Statement(insert(kept_answers).from_select(_NAMES, select(*_GIVEN.c)))
_COUNT_SWEPT = Statement(select(func.count()).select_from(_SWEEP))


def find_answer(connection: Connection, key: RepeatKey, now: datetime) -> KeptAnswer | None:
    """Return the answer that was given under the key; None if there is none, or it has expired at `now`."""
    values = {"account": key.account_id, "name": key.operation, "chosen": key.key, "now": now}
    row = _FIND.row(connection, values)
    return None if row is None else KeptAnswer(*row)


def insert_answers(connection: Connection, answers: Sequence[tuple[RepeatKey, int, Any]]) -> None:
    """Keep answers, each a key, a status and a body, in the transaction that does what they tell of.

    Raises:
        promo_api.errors.KeyTaken: from the block that lends the connection, if one of the keys has been used
            meanwhile; then nothing in the transaction has happened.
    """
    rows = [{**vars(key), "status": status, "body": as_json(body)} for key, status, body in answers]
    _INSERT.count(connection, {f"{name}s": [row[name] for row in rows] for name in _NAMES})


def delete_expired(connection: Connection, now: datetime, *, limit: int) -> int:
    """Delete answers that have expired at `now`, the oldest first, `limit` at most, and return how many.

    What another process is deleting is passed over, so that nobody waits for anybody.
    """
    return int(_COUNT_SWEPT.value(connection, {"now": now, "most": limit}))
