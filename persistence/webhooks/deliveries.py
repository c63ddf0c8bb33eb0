"""What is to be delivered to webhooks: due deliveries, leases and results. The publisher inserts them, see events.

A process leases deliveries: it moves their due time forward before it sends them. The due time identifies the lease, so
a result that comes after the end of the lease changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    DateTime,
    Float,
    Interval,
    Select,
    SmallInteger,
    Text,
    Update,
    Uuid,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from persistence.conditions import pending_webhooks
from persistence.database.statements import CLOCK, Statement, as_json, is_distributed, lateral_join
from persistence.schema.event_tables import events
from persistence.schema.webhook_tables import IS_DUE, deliveries, webhooks


@dataclass(frozen=True)
class Delivery:
    """An event to deliver, and since when. Without a type: the event was deleted."""

    event_id: UUID
    attempts: int
    queued_at: datetime
    type: str | None
    promo_id: UUID | None
    data: dict[str, Any] | None
    created_at: datetime | None


@dataclass(frozen=True)
class DueWebhook:
    """A webhook that may be asked now. The secrets are encrypted."""

    company_id: UUID
    id: UUID
    url: str
    secret: str
    previous_secret: str | None
    failures: int


@dataclass(frozen=True)
class Batch:
    """Leased deliveries of a webhook."""

    webhook: DueWebhook
    deliveries: list[Delivery]
    due_at: datetime


@dataclass(frozen=True)
class Result:
    """What came of an attempt. It is tried again after `retry_s`; None: never."""

    event_id: UUID
    has_succeeded: bool
    status: int | None
    error: str | None
    retry_s: float | None


_COMPANY, _WEBHOOK = bindparam("company", type_=Uuid), bindparam("webhook", type_=Uuid)
_LIMIT, _LEASE = bindparam("limit", type_=BigInteger), bindparam("lease", type_=Interval)
_DUE_AT = bindparam("due_at", type_=DateTime(timezone=True))
# PostgreSQL expects few deliveries of a webhook, and would read them all to find some by their events.
_PLACE = literal_column("deliveries.ctid", type_=Text).label("ctid")
_OF_WEBHOOK = and_(deliveries.c.company_id == _COMPANY, deliveries.c.webhook_id == _WEBHOOK)
# Whether the database is distributed, and the condition on deliveries that are found otherwise. Only Citus needs
# it, to find the shard. It plans each statement for its values, and expects many deliveries of a webhook that has many.
_IN_SHARD = {False: true(), True: _OF_WEBHOOK}
_THIS = and_(webhooks.c.company_id == _COMPANY, webhooks.c.id == _WEBHOOK)
_KEY = (webhooks.c.company_id, webhooks.c.id)
_IS_READY = and_(
    webhooks.c.enabled,
    webhooks.c.deleted_at.is_(None),
    or_(webhooks.c.paused_until.is_(None), webhooks.c.paused_until <= func.now()),
)


_found = pending_webhooks(_COMPANY, _WEBHOOK)
_ready = lateral_join(
    select(webhooks.c.id)
    .where(
        webhooks.c.company_id == _found.c.company_id,
        webhooks.c.id == _found.c.webhook_id,
        _found.c.due_at <= func.now(),
        _IS_READY,
    )
    .correlate(_found),
    "ready",
)
_first_due = (
    select(func.min(deliveries.c.due_at))
    .where(deliveries.c.company_id == webhooks.c.company_id, deliveries.c.webhook_id == webhooks.c.id, IS_DUE)
    .scalar_subquery()
)
_LIST_READY = {
    # Reads only webhooks that have pending deliveries.
    False: Statement(
        select(_found.c.company_id, _found.c.webhook_id).select_from(_found.join(_ready, true())).limit(_LIMIT)
    ),
    # Citus refuses recursive queries of several shards. So its servers read all webhooks, each those of its shards.
    True: Statement(
        select(*_KEY)
        .where(tuple_(*_KEY) > tuple_(_COMPANY, _WEBHOOK), _IS_READY, _first_due <= func.now())
        .order_by(*_KEY)
        .limit(_LIMIT)
    ),
}
_previous = case((webhooks.c.previous_until > func.now(), webhooks.c.previous_secret))
_FIND_READY = Statement(
    select(webhooks.c.company_id, webhooks.c.id, webhooks.c.url, webhooks.c.secret, _previous, webhooks.c.failures)
    .where(_THIS, _IS_READY)
    .limit(literal_column("1"))
)
# One process at a time asks a failing webhook. If it dies, another one does so after the lease.
_CLAIM_ATTEMPT = Statement(
    update(webhooks).where(_THIS, _IS_READY, webhooks.c.failures > 0).values(paused_until=func.now() + _LEASE)
)


def _claim(condition: ColumnElement[bool]) -> Select[Any]:
    locked = (
        select(_PLACE)
        .where(_OF_WEBHOOK, deliveries.c.due_at <= func.now())
        .order_by(deliveries.c.due_at)
        .limit(_LIMIT)
        .with_for_update(skip_locked=True)
        .cte("locked")
    )
    leased = (
        update(deliveries)
        .where(condition, _PLACE.element == func.any(func.array(select(locked.c.ctid).scalar_subquery())))
        .values(due_at=func.now() + _LEASE)
        .returning(*(deliveries.c[name] for name in ("due_at", "event_id", "attempts", "created_at")))
        .cte("leased")
    )
    event = lateral_join(
        select(*(events.c[name] for name in ("type", "promo_id", "data", "created_at")))
        .where(events.c.company_id == _COMPANY, events.c.id == leased.c.event_id)
        .correlate(leased),
        "event",
    )
    return select(*leased.c, *event.c).select_from(leased.outerjoin(event, true()))


_CLAIM = {distributed: Statement(_claim(condition)) for distributed, condition in _IN_SHARD.items()}
_COLUMNS: dict[str, Any] = {
    "event_id": Uuid,
    "has_succeeded": Boolean,
    "status": SmallInteger,
    "error": Text,
    "retry_s": Float,
    "ends_at": DateTime(timezone=True),
}
_results = (
    func.unnest(*(bindparam(f"{name}s", type_=ARRAY(type_)) for name, type_ in _COLUMNS.items()))
    .table_valued(*_COLUMNS, name="results")
    .render_derived()
)


def _update(condition: ColumnElement[bool]) -> Update:
    """Store results.

    A query computes them, because Citus allows hardly any function in the values of an UPDATE. It is materialized, so
    that the planner cannot run it again for each delivery. Each delivery is found by its key: the index of due times,
    which IS NOT DISTINCT FROM can't use, would find the whole batch each time.
    """
    has_succeeded, ends_at = _results.c.has_succeeded, _results.c.ends_at
    has_failed = or_(_results.c.retry_s.is_(None), ends_at <= func.now())
    retry_at = func.now() + _results.c.retry_s * literal_column("interval '1 second'", Interval)
    changes = {
        "state": case((has_succeeded, "succeeded"), (has_failed, "failed"), else_="pending"),
        "due_at": case((or_(has_succeeded, has_failed), null()), else_=func.least(retry_at, ends_at)),
        "attempted_at": func.now(),
        "status": _results.c.status,
        "error": _results.c.error,
    }
    columns = (change.label(name) for name, change in changes.items())
    key = (_COMPANY.label("company_id"), _WEBHOOK.label("webhook_id"), _results.c.event_id)
    found = select(*key, *columns).cte("found").prefix_with("MATERIALIZED")
    is_result = and_(*(column == found.c[column.name] for column in deliveries.primary_key))
    return (
        update(deliveries)
        .where(condition, is_result, deliveries.c.due_at.is_not_distinct_from(_DUE_AT))
        .values({name: found.c[name] for name in changes} | {"attempts": deliveries.c.attempts + 1})
    )


_UPDATE = {distributed: Statement(_update(condition)) for distributed, condition in _IN_SHARD.items()}
_RETURN = Statement(
    update(deliveries)
    .where(
        _OF_WEBHOOK,
        deliveries.c.event_id == func.any(bindparam("event_ids", type_=ARRAY(Uuid))),
        deliveries.c.due_at == _DUE_AT,
    )
    .values(due_at=func.now() + bindparam("pause", type_=Interval))
)
_CLEAR_FAILURES = Statement(
    update(webhooks).where(_THIS, webhooks.c.failures > 0).values(failing_since=null(), failures=0, paused_until=null())
)
_is_first = bindparam("is_first", type_=Boolean)
_UPDATE_FAILURES = Statement(
    update(webhooks)
    .where(_THIS, webhooks.c.deleted_at.is_(None))
    .values(
        failures=case((_is_first, 1), else_=webhooks.c.failures + 1),
        failing_since=case((_is_first, CLOCK.c.now), else_=func.coalesce(webhooks.c.failing_since, CLOCK.c.now)),
        paused_until=func.now() + bindparam("pause", type_=Interval),
    )
    .returning(CLOCK.c.now - webhooks.c.failing_since)
)
_DISABLE = Statement(
    update(webhooks)
    .where(_THIS, webhooks.c.enabled, webhooks.c.deleted_at.is_(None))
    .values(
        enabled=False,
        disabled_reason=bindparam("reason", type_=Text),
        disabled_at=func.now(),
        mail_due_at=func.now(),
        mail_attempts=0,
    )
)
_INSERT_DISABLED = Statement(
    insert(events).values(
        company_id=_COMPANY, type=literal_column("'webhook.disabled'"), data=bindparam("data", type_=JSONB)
    )
)


def list_ready_webhooks(connection: Connection, *, after: tuple[UUID, UUID], limit: int) -> list[tuple[UUID, UUID]]:
    """Return webhooks with due deliveries, by company and id, in the order of these."""
    values = {"company": after[0], "webhook": after[1], "limit": limit}
    return [(row[0], row[1]) for row in _LIST_READY[is_distributed(connection)].rows(connection, values)]


def claim_deliveries(
    connection: Connection, company_id: UUID, webhook_id: UUID, *, limit: int, lease: timedelta
) -> Batch | None:
    """Lease due deliveries of a webhook, of a failing one only one; None: there are none, or it is paused."""
    values = {"company": company_id, "webhook": webhook_id, "lease": lease}
    found = _FIND_READY.row(connection, values)
    if found is None:
        return None
    webhook = DueWebhook(*found)
    if webhook.failures and not _CLAIM_ATTEMPT.count(connection, values):
        return None
    rows = _CLAIM[is_distributed(connection)].rows(connection, values | {"limit": 1 if webhook.failures else limit})
    return Batch(webhook, [Delivery(*row[1:]) for row in rows], rows[0][0]) if rows else None


def update_deliveries(connection: Connection, batch: Batch, results: Sequence[Result], *, lifetime: timedelta) -> None:
    """Store the results of attempts. A delivery that is older than `lifetime` is not tried again."""
    ends_at = {each.event_id: each.queued_at + lifetime for each in batch.deliveries}
    values = {f"{name}s": [getattr(result, name) for result in results] for name in Result.__dataclass_fields__}
    values["ends_ats"] = [ends_at[result.event_id] for result in results]
    _UPDATE[is_distributed(connection)].count(connection, _of(batch) | values)


def update_unsent(connection: Connection, batch: Batch, event_ids: Sequence[UUID], *, pause: timedelta) -> None:
    """End the lease of deliveries that were not sent; they are due again after the pause."""
    _RETURN.count(connection, _of(batch) | {"event_ids": [*event_ids], "pause": pause})


def update_working(connection: Connection, webhook: DueWebhook) -> None:
    """Store that a webhook works again."""
    _CLEAR_FAILURES.count(connection, {"company": webhook.company_id, "webhook": webhook.id})


def update_failing(
    connection: Connection, webhook: DueWebhook, *, is_first: bool, pause: timedelta, lifetime: timedelta
) -> bool:
    """Store a failure of a webhook, and return whether it has been failing for longer than `lifetime`.

    Args:
        connection: in a transaction.
        webhook: the webhook that has failed.
        is_first: it was successful immediately before.
        pause: how long nothing is sent to it.
        lifetime: how long a webhook may fail.
    """
    values = {"company": webhook.company_id, "webhook": webhook.id, "is_first": is_first, "pause": pause}
    failing: timedelta | None = _UPDATE_FAILURES.value(connection, values)
    return failing is not None and failing > lifetime


def update_disabled(connection: Connection, webhook: DueWebhook, reason: str) -> bool:
    """Disable a webhook in a transaction, with an event; False: it is disabled already."""
    values = {"company": webhook.company_id, "webhook": webhook.id}
    if not _DISABLE.count(connection, values | {"reason": reason}):
        return False
    _INSERT_DISABLED.count(connection, values | {"data": as_json({"webhook_id": str(webhook.id), "reason": reason})})
    return True


def _of(batch: Batch) -> dict[str, Any]:
    return {"company": batch.webhook.company_id, "webhook": batch.webhook.id, "due_at": batch.due_at}
