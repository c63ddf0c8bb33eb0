"""The events of companies: publication, lists and deletion. Triggers of migration 0022 write them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Connection,
    DateTime,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert as upsert

from persistence.conditions import TODAY, receives
from persistence.database.statements import Statement, skip_scan
from persistence.pages import Key, Page
from persistence.schema.event_tables import IS_UNPUBLISHED, event_feeds, events
from persistence.schema.tables import HAS_UNREPORTED_END, promos
from persistence.schema.webhook_tables import deliveries, webhooks

# The events that a publisher numbers at once. A literal in SQL, so that the planner expects few rows.
PUBLISHED_MAX = 500
_EXPIRED = "promo.expired"


@dataclass(frozen=True)
class Event:
    """A published event. `data` has what its type adds to the promo."""

    id: UUID
    type: str
    promo_id: UUID | None
    data: dict[str, Any]
    created_at: datetime
    number: int


@dataclass(frozen=True)
class Backlog:
    """The unpublished events: how many, up to a maximum, and how long ago the oldest was written."""

    events: int
    age_s: float


_COMPANY_ID, _LIMIT = bindparam("company", type_=Uuid), bindparam("limit", type_=BigInteger)
_AFTER = bindparam("after", type_=BigInteger)


def _waiting(after: Any) -> Select[Any]:
    """Find the first company after another one that has unpublished events."""
    found = select(events.c.company_id).where(IS_UNPUBLISHED, events.c.company_id > after)
    return found.order_by(events.c.company_id).limit(literal_column("1"))


_companies = skip_scan(_waiting, _COMPANY_ID)
_WAITING = Statement(select(_companies.c.company_id).limit(_LIMIT))
_CLAIM_FEED = Statement(
    select(event_feeds.c.last_number).where(event_feeds.c.company_id == _COMPANY_ID).with_for_update(skip_locked=True)
)
# Not by ON CONFLICT alone, which waits for a transaction that has changed the row.
_has_feed = exists(select(event_feeds.c.company_id).where(event_feeds.c.company_id == _COMPANY_ID))
_INSERT_FEED = Statement(
    upsert(event_feeds)
    .from_select(["company_id"], select(_COMPANY_ID).where(~_has_feed), include_defaults=False)
    .on_conflict_do_nothing()
    .returning(event_feeds.c.last_number)
)
_next = (
    select(events.c.id)
    .where(events.c.company_id == _COMPANY_ID, IS_UNPUBLISHED)
    .order_by(events.c.id)
    .limit(literal_column(str(PUBLISHED_MAX)))
    .subquery("next")
)
_numbered = select(_next.c.id, func.row_number().over(order_by=_next.c.id).label("place")).cte("numbered")


def _publish() -> Select[Any]:
    """Number the next events, and insert the deliveries to the webhooks of the company."""
    published = (
        update(events)
        .where(events.c.company_id == _COMPANY_ID, events.c.id == _numbered.c.id)
        .values(number=_AFTER + _numbered.c.place, published_at=func.now())
        .returning(events.c.id, events.c.type, events.c.data)
        .cte("published")
    )
    receivers = (
        select(webhooks.c.company_id, webhooks.c.id, published.c.id)
        .where(
            webhooks.c.company_id == _COMPANY_ID,
            webhooks.c.enabled,
            webhooks.c.deleted_at.is_(None),
            receives(webhooks.c, published.c),
        )
        # The deletion of a webhook must wait, or be waited for. Otherwise it would leave these deliveries behind.
        .with_for_update(read=True, key_share=True, of=webhooks)
    )
    inserted = (
        upsert(deliveries)
        .from_select(["company_id", "webhook_id", "event_id"], receivers, include_defaults=False)
        .on_conflict_do_nothing()
        .cte("inserted")
    )
    return select(published.c.type).add_cte(inserted)


_PUBLISH = Statement(_publish())
_UPDATE_FEED = Statement(
    update(event_feeds)
    .where(event_feeds.c.company_id == _COMPANY_ID)
    .values(last_number=event_feeds.c.last_number + bindparam("published", type_=BigInteger))
)
_EVENT = select(*(events.c[name] for name in Event.__dataclass_fields__))
_IS_NEXT = and_(events.c.company_id == _COMPANY_ID, events.c.number > _AFTER)
_LIST = Statement(_EVENT.where(_IS_NEXT).order_by(events.c.number).limit(_LIMIT))


def _list_types() -> Select[Any]:
    """Select the first events of each type, each from one range of an index."""
    types = func.unnest(bindparam("types", type_=ARRAY(Text))).table_valued("type", name="types").render_derived()
    of_type = _EVENT.where(_IS_NEXT, events.c.type == types.c.type).order_by(events.c.number).limit(_LIMIT)
    found = of_type.correlate(types).lateral("found")
    return select(found).select_from(types.join(found, true())).order_by(found.c.number).limit(_LIMIT)


_LIST_TYPES = Statement(_list_types())
_CLAIM_OLD = Statement(
    select(events.c.company_id, events.c.id)
    .where(events.c.published_at < bindparam("since", type_=DateTime(timezone=True)), ~IS_UNPUBLISHED)
    .order_by(events.c.published_at, events.c.number)
    .limit(_LIMIT)
    # Without SKIP LOCKED: two sweepers could delete events of a company in another order, which makes a gap.
    .with_for_update()
)
_old = (
    func.unnest(bindparam("companies", type_=ARRAY(Uuid)), bindparam("ids", type_=ARRAY(Uuid)))
    .table_valued("company_id", "id", name="old")
    .render_derived()
)
# Of each webhook, also of one that is being deleted. MATERIALIZED, so that the primary key finds the deliveries.
_keys = (
    select(_old.c.company_id, webhooks.c.id.label("webhook_id"), _old.c.id.label("event_id"))
    .join_from(_old, webhooks, webhooks.c.company_id == _old.c.company_id)
    .order_by(_old.c.company_id, webhooks.c.id, _old.c.id)
    .cte("keys")
    .prefix_with("MATERIALIZED")
)
_DELETE_DELIVERIES = Statement(delete(deliveries).where(*(deliveries.c[key.name] == key for key in _keys.c)))
_DELETE_OLD = Statement(delete(events).where(events.c.company_id == _old.c.company_id, events.c.id == _old.c.id))
_oldest = (
    select(events.c.created_at)
    .where(events.c.company_id == _companies.c.company_id, IS_UNPUBLISHED)
    .order_by(events.c.id)
    .limit(literal_column("1"))
    .scalar_subquery()
)
_counted = select(events.c.id).where(IS_UNPUBLISHED).limit(_LIMIT).subquery("counted")
_BACKLOG = Statement(
    select(
        select(func.count()).select_from(_counted).scalar_subquery(),
        select(func.extract("epoch", func.clock_timestamp() - func.min(_oldest)))
        .select_from(_companies)
        .scalar_subquery(),
    )
)


def _report_ends() -> Select[Any]:
    due = (
        select(promos.c.id)
        .where(promos.c.active_until < TODAY, HAS_UNREPORTED_END)
        .order_by(promos.c.active_until, promos.c.id)
        .limit(_LIMIT)
        .with_for_update(key_share=True, skip_locked=True)
        .cte("due")
    )
    ended = (
        update(promos)
        .where(promos.c.id == due.c.id)
        .values(reported_until=promos.c.active_until)
        .returning(promos.c.id, promos.c.company_id, promos.c.active_until)
        .cte("ended")
    )
    data = func.jsonb_build_object("active_until", ended.c.active_until, type_=JSONB)
    expired = insert(events).from_select(
        ["company_id", "type", "promo_id", "data"],
        select(ended.c.company_id, literal_column(f"'{_EXPIRED}'"), ended.c.id, data),
        include_defaults=False,
    )
    return select(func.count()).select_from(ended).add_cte(expired.cte("expired"))


_REPORT_ENDS = Statement(_report_ends())
_FIRST_ID = UUID(int=0)


def list_waiting_companies(connection: Connection, *, after: UUID, limit: int) -> list[UUID]:
    """Return companies with unpublished events, in the order of their ids."""
    return [row[0] for row in _WAITING.rows(connection, {"company": after, "limit": limit})]


def update_event_numbers(connection: Connection, company_id: UUID) -> list[str]:
    """Number the next events of a company in a transaction, insert their deliveries, and return their types.

    Empty: there are none, or another process publishes events of the company.
    """
    values = {"company": company_id}
    # A separate statement for the lock, so that the update sees the events that are committed by then.
    feed = _CLAIM_FEED.row(connection, values) or _INSERT_FEED.row(connection, values)
    if feed is None:
        return []
    types = [row[0] for row in _PUBLISH.rows(connection, {**values, "after": feed[0]})]
    _UPDATE_FEED.count(connection, {**values, "published": len(types)})
    return types


def list_events(
    connection: Connection, company_id: UUID, *, types: Sequence[str] | None, limit: int, after: Key | None
) -> Page[Event]:
    """Return the next events of a company, the oldest first; `types` None: of all types.

    The page always has a key, because further events follow sooner or later.
    """
    number = after[0] if after else 0
    values = {"company": company_id, "after": number, "limit": limit, "types": types and [*dict.fromkeys(types)]}
    entries = [Event(*row) for row in (_LIST_TYPES if types else _LIST).rows(connection, values)]
    return Page(entries, None, [entries[-1].number if entries else number])


def delete_old_events(connection: Connection, since: datetime, *, limit: int) -> int:
    """Delete events that were published before this time, the oldest first, and return how many.

    Call it in a transaction. The deliveries of an event are deleted with it.
    """
    rows = _CLAIM_OLD.rows(connection, {"since": since, "limit": limit})
    values = {"companies": [row[0] for row in rows], "ids": [row[1] for row in rows]}
    # A separate statement after the lock, so that it sees the deliveries that are committed by then.
    _DELETE_DELIVERIES.count(connection, values)
    return _DELETE_OLD.count(connection, values)


def count_backlog(connection: Connection, *, limit: int) -> Backlog:
    """Count the unpublished events."""
    [row] = _BACKLOG.rows(connection, {"company": _FIRST_ID, "limit": limit})
    return Backlog(int(row[0]), float(row[1] or 0))


def insert_end_events(connection: Connection, today: date, *, limit: int) -> int:
    """Write an event for promos whose last day has ended, once for each end, and return how many."""
    return int(_REPORT_ENDS.value(connection, {"today": today, "limit": limit}))
