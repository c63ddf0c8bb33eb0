"""Upkeep of webhooks: deletion, encryption of the secrets, and counts for metrics."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    Text,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    delete,
    exists,
    func,
    literal_column,
    null,
    select,
    true,
    tuple_,
    update,
)

from persistence.conditions import pending_webhooks
from persistence.database.statements import Statement, claim_first, is_distributed, lateral_join
from persistence.schema.webhook_tables import IS_DUE, deliveries, webhooks


@dataclass(frozen=True)
class StoredSecrets:
    """The encrypted secrets of a webhook, the previous one until it expires."""

    company_id: UUID
    id: UUID
    secret: str
    previous_secret: str | None


@dataclass(frozen=True)
class WebhookCounts:
    """Numbers of webhooks and deliveries, each up to a maximum, and the age of the oldest due delivery."""

    enabled: int
    failing: int
    disabled: int
    pending: int
    oldest_due_s: float


_webhook, _delivery = webhooks.c, deliveries.c
_COMPANY_ID, _WEBHOOK_ID = bindparam("company", type_=Uuid), bindparam("webhook", type_=Uuid)
_LIMIT = bindparam("limit", type_=BigInteger)
# Not clock_timestamp(): Citus allows no VOLATILE function in an UPDATE.
_NOW = func.statement_timestamp()
_IS_WEBHOOK = (_webhook.company_id == _COMPANY_ID, _webhook.id == _WEBHOOK_ID)
_IS_OF_WEBHOOK = (_delivery.company_id == _COMPANY_ID, _delivery.webhook_id == _WEBHOOK_ID)
_IS_USABLE = (_webhook.enabled, _webhook.deleted_at.is_(None))

_CLOSE_ALL = Statement(
    update(webhooks)
    .where(_webhook.company_id == _COMPANY_ID, _webhook.deleted_at.is_(None))
    .values(deleted_at=_NOW, mail_due_at=null())
)
_KEY = (_webhook.company_id, _webhook.id)
_IS_DELETED = _webhook.deleted_at.is_not(None)
# Random, so that a webhook that fails does not block others. More than one, because other processes may lock the first.
_FIND_DELETED = Statement(select(*_KEY).where(_IS_DELETED).order_by(func.random()).limit(literal_column("10")))
_CLAIM_DELETED = Statement(select(*_KEY).where(*_IS_WEBHOOK, _IS_DELETED).with_for_update(skip_locked=True))
_ROW_ID: ColumnElement[Any] = literal_column("deliveries.ctid")
_batch = select(_ROW_ID).select_from(deliveries).where(*_IS_OF_WEBHOOK).limit(_LIMIT).with_for_update(skip_locked=True)
_is_in_batch = any_(func.array(_batch.scalar_subquery())) == _ROW_ID
# Citus needs the key also outside of the subquery. PostgreSQL might then read all deliveries of the webhook each time.
_DELETE_BATCH = {
    False: Statement(delete(deliveries).where(_is_in_batch)),
    True: Statement(delete(deliveries).where(*_IS_OF_WEBHOOK, _is_in_batch)),
}
_has_deliveries = exists(select(_delivery.event_id).where(*_IS_OF_WEBHOOK))
_DELETE_WEBHOOK = Statement(delete(webhooks).where(*_IS_WEBHOOK, ~_has_deliveries))

_previous = case((_webhook.previous_until > _NOW, _webhook.previous_secret))
_SECRETS = Statement(
    select(_webhook.company_id, _webhook.id, _webhook.secret, _previous)
    .where(tuple_(_webhook.company_id, _webhook.id) > tuple_(_COMPANY_ID, _WEBHOOK_ID))
    .order_by(_webhook.company_id, _webhook.id)
    .limit(_LIMIT)
)


def _replace(name: str) -> Statement:
    column = _webhook[name]
    is_old = column == bindparam("old", type_=Text)
    return Statement(update(webhooks).where(*_IS_WEBHOOK, is_old).values({name: bindparam("new", type_=Text)}))


_REPLACE_SECRET = {name: _replace(name) for name in ("secret", "previous_secret")}


def _count() -> Select[Any]:
    """Read only webhooks that have pending deliveries, and some of all."""
    few = (
        select(pending_webhooks(_COMPANY_ID, _WEBHOOK_ID))
        .limit(bindparam("webhooks_limit", type_=BigInteger))
        .subquery("few")
    )
    is_same = (_webhook.company_id == few.c.company_id, _webhook.id == few.c.webhook_id)
    # MATERIALIZED, because it is read twice.
    waiting = (
        select(_webhook.company_id, _webhook.id, _webhook.failing_since, few.c.due_at)
        .join_from(few, webhooks, is_same[0] & is_same[1])
        .where(*_IS_USABLE)
        .cte("waiting")
        .prefix_with("MATERIALIZED")
    )
    of_waiting = (IS_DUE, _delivery.company_id == waiting.c.company_id, _delivery.webhook_id == waiting.c.id)
    each = lateral_join(select(_delivery.due_at).where(*of_waiting).limit(_LIMIT), "each")
    pending = select(each.c.due_at).select_from(waiting.join(each, true())).limit(_LIMIT).subquery("pending")
    age = func.extract("epoch", _NOW - func.min(waiting.c.due_at))
    some = select(webhooks).where(_webhook.deleted_at.is_(None)).limit(_LIMIT).subquery("some")
    return select(
        func.count().filter(some.c.enabled),
        func.count().filter(some.c.enabled, some.c.failing_since.is_not(None)),
        func.count().filter(some.c.disabled_reason.is_not(None)),
        select(func.count()).select_from(pending).scalar_subquery(),
        select(func.greatest(age, 0)).select_from(waiting).where(waiting.c.failing_since.is_(None)).scalar_subquery(),
    ).select_from(some)


def _count_all() -> Select[Any]:
    """Read all webhooks, each server those of its shards: Citus refuses recursive queries of several shards."""
    is_pending = (IS_DUE, _delivery.company_id == _webhook.company_id, _delivery.webhook_id == _webhook.id)
    pending = select(literal_column("1")).where(*is_pending).correlate(webhooks).limit(_LIMIT).subquery("pending")
    due_at = select(func.min(_delivery.due_at)).where(*is_pending).correlate(webhooks)
    each = (
        select(
            _webhook.enabled,
            _webhook.failing_since,
            _webhook.disabled_reason,
            select(func.count()).select_from(pending).scalar_subquery().label("pending"),
            due_at.scalar_subquery().label("due_at"),
        )
        .where(_webhook.deleted_at.is_(None))
        .subquery("each")
    )
    is_healthy = and_(each.c.enabled, each.c.failing_since.is_(None))
    age = func.extract("epoch", _NOW - func.min(each.c.due_at).filter(is_healthy))
    numbers = (
        func.count().filter(each.c.enabled),
        func.count().filter(each.c.enabled, each.c.failing_since.is_not(None)),
        func.count().filter(each.c.disabled_reason.is_not(None)),
        func.coalesce(func.sum(each.c.pending).filter(each.c.enabled), literal_column("0")),
    )
    return select(*(func.least(number, _LIMIT) for number in numbers), func.greatest(age, 0)).select_from(each)


_COUNT = {False: Statement(_count()), True: Statement(_count_all())}
# Before each webhook.
FIRST_WEBHOOK = (UUID(int=0), UUID(int=0))


def close_webhooks(connection: Connection, company_id: UUID) -> None:
    """Mark all webhooks of a closed company for deletion."""
    _CLOSE_ALL.count(connection, {"company": company_id})


def delete_webhook_batch(connection: Connection, *, limit: int) -> int:
    """Delete deliveries of a webhook that is marked for deletion, then the webhook, and return how many rows.

    Call it in a transaction. 0: there is none, or the rows are locked.
    """
    row = claim_first(connection, _FIND_DELETED, _CLAIM_DELETED, ("company", "webhook"), {})
    if row is None:
        return 0
    values = {"company": row[0], "webhook": row[1], "limit": limit}
    rows = _DELETE_BATCH[is_distributed(connection)].count(connection, values)
    return rows if rows == limit else rows + _DELETE_WEBHOOK.count(connection, values)


def list_secrets(connection: Connection, *, after: tuple[UUID, UUID], limit: int) -> list[StoredSecrets]:
    """Return the secrets of the next webhooks, in the order of their companies and ids."""
    company_id, webhook_id = after
    rows = _SECRETS.rows(connection, {"company": company_id, "webhook": webhook_id, "limit": limit})
    return [StoredSecrets(*row) for row in rows]


def update_encryption(connection: Connection, webhook: StoredSecrets, name: str, new: str) -> int:
    """Replace `secret` or `previous_secret` by another encryption of it, unless it has changed, and count this."""
    values = {"company": webhook.company_id, "webhook": webhook.id, "old": getattr(webhook, name), "new": new}
    return _REPLACE_SECRET[name].count(connection, values)


def count_webhooks(connection: Connection, *, limit: int, webhooks_limit: int) -> WebhookCounts:
    """Count webhooks, and pending deliveries of enabled ones; the age is that of webhooks that are not failing.

    `limit` is the maximum of each number. Only the first `webhooks_limit` webhooks with pending deliveries are read for
    the number of deliveries and the age; with Citus all.
    """
    company_id, webhook_id = FIRST_WEBHOOK
    values = {"company": company_id, "webhook": webhook_id, "limit": limit, "webhooks_limit": webhooks_limit}
    [row] = _COUNT[is_distributed(connection)].rows(connection, values)
    enabled, failing, disabled, pending, oldest_due_s = row
    return WebhookCounts(enabled, failing, disabled, int(pending), float(oldest_due_s or 0))
