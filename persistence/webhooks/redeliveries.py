"""The deliveries of a webhook as its company sees them, tests, and repeated deliveries.

A process that inserts deliveries locks the webhook, at least FOR KEY SHARE, and published events too. So a deletion,
which locks FOR UPDATE, leaves no delivery behind. Lock order: webhooks, events, deliveries.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    DateTime,
    Select,
    Text,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    cast,
    func,
    insert,
    literal,
    literal_column,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert as upsert

from persistence.conditions import receives
from persistence.database.statements import Statement, claim_first, lateral_join
from persistence.pages import Key, Page, after, uncounted_page
from persistence.schema.event_tables import IS_UNPUBLISHED, event_feeds, events
from persistence.schema.webhook_tables import deliveries, webhooks


@dataclass(frozen=True)
class Delivery:
    """The delivery of an event to a webhook. `due_at` is None if it is not tried again."""

    event_id: UUID
    event_type: str
    state: str
    attempts: int
    created_at: datetime
    attempted_at: datetime | None
    due_at: datetime | None
    status: int | None
    error: str | None


_TEST: ColumnElement[str] = literal_column("'webhook.test'")
_COMPANY_ID, _WEBHOOK_ID = bindparam("company", type_=Uuid), bindparam("webhook", type_=Uuid)
_IS_WEBHOOK = and_(webhooks.c.company_id == _COMPANY_ID, webhooks.c.id == _WEBHOOK_ID)
_IS_OF_WEBHOOK = and_(deliveries.c.company_id == _COMPANY_ID, deliveries.c.webhook_id == _WEBHOOK_ID)
# Not clock_timestamp(): Citus allows no VOLATILE function in an UPDATE.
_NOW = func.statement_timestamp()
# The events of a step. A literal in SQL, so that the planner expects few rows.
_REDELIVERED_MAX: ColumnElement[int] = literal_column("1000")
_INSERT_TEST = Statement(
    insert(events)
    .values(company_id=_COMPANY_ID, type=_TEST, data=func.jsonb_build_object("webhook_id", _WEBHOOK_ID, type_=JSONB))
    .returning(events.c.id)
)


def _list() -> Select[Any]:
    event = lateral_join(
        select(events.c.type.label("event_type")).where(
            events.c.company_id == _COMPANY_ID, events.c.id == deliveries.c.event_id
        ),
        "event",
    )
    columns = [
        event.c.event_type if name == "event_type" else deliveries.c[name] for name in Delivery.__dataclass_fields__
    ]
    return (
        select(*columns)
        .select_from(deliveries.join(event, true()))
        .where(_IS_OF_WEBHOOK)
        .order_by(deliveries.c.event_id.desc())
        .limit(bindparam("limit", type_=BigInteger))
    )


_FIRST = Statement(_list())
_AFTER = Statement(_list().where(deliveries.c.event_id < after(deliveries.c.event_id)))


def _redeliver() -> Any:
    # A test is delivered to its own webhook only.
    is_for_webhook = or_(events.c.type != _TEST, events.c.data["webhook_id"].astext == cast(_WEBHOOK_ID, Text))
    event = (
        select(
            events.c.company_id,
            _WEBHOOK_ID.label("webhook_id"),
            events.c.id,
            _NOW.label("due_at"),
            _NOW.label("created_at"),
        )
        .where(
            events.c.company_id == _COMPANY_ID,
            events.c.id == bindparam("event", type_=Uuid),
            ~IS_UNPUBLISHED,
            is_for_webhook,
        )
        # The deletion of an old event deletes its deliveries, so it must wait, or be waited for.
        .with_for_update(read=True, key_share=True)
    )
    statement = upsert(deliveries).from_select(
        ["company_id", "webhook_id", "event_id", "due_at", "created_at"], event, include_defaults=False
    )
    repeated = {"state": literal_column("'pending'"), "attempts": 0}
    times = {name: statement.excluded[name] for name in ("due_at", "created_at")}
    result = {"attempted_at": null(), "status": null(), "error": null()}
    return statement.on_conflict_do_update(
        index_elements=list(deliveries.primary_key), set_={**repeated, **times, **result}
    ).returning(deliveries.c.event_id)


def _number_before() -> Select[Any]:
    """Find the number before the first event that was published at or after a time, by a binary search.

    The numbers of the stored events have no gap, and the later one is published later.
    """
    last = select(event_feeds.c.last_number).where(event_feeds.c.company_id == _COMPANY_ID).scalar_subquery()
    first = select(literal(0, BigInteger).label("low"), (func.coalesce(last, literal(0, BigInteger)) + 1).label("high"))
    search = first.cte("search", recursive=True)
    middle = (search.c.low + search.c.high) // literal_column("2", BigInteger)
    is_earlier = select(events.c.published_at < bindparam("since", type_=DateTime(timezone=True))).where(
        events.c.company_id == _COMPANY_ID, events.c.number == middle, ~IS_UNPUBLISHED
    )
    # A deleted event is earlier than all stored ones.
    is_low = func.coalesce(is_earlier.scalar_subquery(), true())
    halves = select(case((is_low, middle), else_=search.c.low), case((is_low, search.c.high), else_=middle))
    search = search.union_all(halves.where(search.c.high - search.c.low > 1))
    return select(search.c.low).where(search.c.high - search.c.low == 1)


_REDELIVER = Statement(_redeliver())
_REDELIVER_SINCE = Statement(
    update(webhooks)
    .where(_IS_WEBHOOK)
    # LEAST ignores NULL.
    .values(redeliver_after=func.least(webhooks.c.redeliver_after, _number_before().scalar_subquery()))
)

_IS_WAITING = and_(webhooks.c.redeliver_after.is_not(None), webhooks.c.enabled, webhooks.c.deleted_at.is_(None))
# More than one, because other processes may have locked the first.
_FIND_WAITING = Statement(
    select(webhooks.c.company_id, webhooks.c.id).where(_IS_WAITING).order_by(func.random()).limit(literal_column("10"))
)
_CLAIM_WAITING = Statement(
    select(webhooks.c.company_id, webhooks.c.id)
    .where(_IS_WEBHOOK, _IS_WAITING)
    .with_for_update(key_share=True, skip_locked=True)
)


def _redeliver_next() -> Select[Any]:
    of_webhook = select(webhooks).where(_IS_WEBHOOK).cte("of_webhook")
    after = select(of_webhook.c.redeliver_after).scalar_subquery()
    following = (
        select(events.c.id, events.c.number, events.c.type, events.c.data)
        .where(events.c.company_id == _COMPANY_ID, events.c.number > after)
        .order_by(events.c.number)
        .limit(_REDELIVERED_MAX)
        .with_for_update(read=True, key_share=True)
        .cte("following")
    )
    is_stored = (_IS_OF_WEBHOOK, deliveries.c.event_id == following.c.id)
    stored = lateral_join(select(deliveries.c.state).where(*is_stored).correlate(following), "stored")
    wanted = (
        select(following.c.id, stored.c.state)
        .select_from(following.join(of_webhook, receives(of_webhook.c, following.c)).outerjoin(stored, true()))
        .cte("wanted")
        # Because it is read twice.
        .prefix_with("MATERIALIZED")
    )
    failed = select(wanted.c.id).where(wanted.c.state == "failed").scalar_subquery()
    renewed = (
        update(deliveries)
        .where(_IS_OF_WEBHOOK, deliveries.c.event_id == any_(func.array(failed)))
        .values(state="pending", due_at=_NOW, created_at=_NOW, attempts=0)
        .cte("renewed")
    )
    # Not by ON CONFLICT alone, which waits for a sender that has changed the row.
    missing = select(_COMPANY_ID, _WEBHOOK_ID, wanted.c.id).where(wanted.c.state.is_(None))
    inserted = (
        upsert(deliveries)
        .from_select(["company_id", "webhook_id", "event_id"], missing, include_defaults=False)
        .on_conflict_do_nothing()
        .cte("inserted")
    )
    last = select(case((func.count() == _REDELIVERED_MAX, func.max(following.c.number)))).scalar_subquery()
    moved = update(webhooks).where(_IS_WEBHOOK).values(redeliver_after=last).cte("moved")
    return select(func.count()).select_from(following).add_cte(renewed, inserted, moved)


_REDELIVER_NEXT = Statement(_redeliver_next())


def list_deliveries(
    connection: Connection, company_id: UUID, webhook_id: UUID, *, limit: int, after: Key | None
) -> Page[Delivery]:
    """Return a page of the deliveries of a webhook, the newest event first."""
    values = {"company": company_id, "webhook": webhook_id, "limit": limit + 1}
    if after is None:
        rows = _FIRST.rows(connection, values)
    else:
        rows = _AFTER.rows(connection, {**values, "after_event_id": after[0]})
    return uncounted_page([Delivery(*row) for row in rows], limit, lambda delivery: [delivery.event_id])


def insert_test(connection: Connection, company_id: UUID, webhook_id: UUID) -> UUID:
    """Write an event for this webhook only, and return its id."""
    event_id: UUID = _INSERT_TEST.value(connection, {"company": company_id, "webhook": webhook_id})
    return event_id


def insert_redelivery(connection: Connection, company_id: UUID, webhook_id: UUID, event_id: UUID) -> bool:
    """Let an event be delivered again, also a delivered one; False: there is no such event.

    The webhook must be locked.
    """
    values = {"company": company_id, "webhook": webhook_id, "event": event_id}
    return _REDELIVER.row(connection, values) is not None


def update_redelivery(connection: Connection, company_id: UUID, webhook_id: UUID, since: datetime) -> None:
    """Let a sweeper deliver the events again that were published at or after a time."""
    _REDELIVER_SINCE.count(connection, {"company": company_id, "webhook": webhook_id, "since": since})


def insert_redeliveries(connection: Connection) -> int:
    """Insert or renew deliveries of the next events that a webhook gets again, and return how many events were read.

    Call it in a transaction. Pending and successful deliveries stay as they are. 0: no webhook waits. At least 1 is
    returned otherwise, so that the caller goes on with the next webhook.
    """
    row = claim_first(connection, _FIND_WAITING, _CLAIM_WAITING, ("company", "webhook"), {})
    if row is None:
        return 0
    return max(1, int(_REDELIVER_NEXT.value(connection, {"company": row[0], "webhook": row[1]})))
