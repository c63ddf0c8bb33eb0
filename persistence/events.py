"""The events of companies: publication, lists and deletion. Triggers of migrations 0022 and 0025 write them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    DateTime,
    Insert,
    Select,
    Table,
    Text,
    Uuid,
    and_,
    bindparam,
    cast,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    text,
    true,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert as upsert

from persistence.conditions import TODAY, receives
from persistence.database.statements import Statement
from persistence.pages import Key, Page
from persistence.schema.event_tables import IS_UNPUBLISHED, event_feeds, events, promo_events
from persistence.schema.tables import HAS_UNREPORTED_END, promos
from persistence.schema.webhook_tables import deliveries, webhooks

# The events that a publisher numbers at once. A literal in SQL, so that the planner expects few rows.
PUBLISHED_MAX = 500


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
_IDS = bindparam("ids", type_=ARRAY(Uuid))
# Plans are made with an empty outbox or a full one, and kept. Only those in the order of an index are right for both.
_USE_INDEXES = Statement(
    text(
        "SELECT set_config(name, 'off', true)"
        " FROM unnest(ARRAY['enable_seqscan', 'enable_bitmapscan', 'enable_sort']) AS settings (name)"
    )
)


def _first_waiting(table: Table, *conditions: ColumnElement[bool]) -> Select[Any]:
    found = select(table.c.company_id).where(table.c.company_id > _COMPANY_ID, *conditions)
    return select(found.order_by(table.c.company_id).limit(literal_column("1")).subquery())


_waiting = union_all(_first_waiting(promo_events), _first_waiting(events, IS_UNPUBLISHED)).subquery("waiting")
_NEXT_WAITING = Statement(select(_waiting.c.company_id).order_by(_waiting.c.company_id).limit(literal_column("1")))
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


def _next_ids(table: Table, *conditions: ColumnElement[bool]) -> Select[Any]:
    is_other: ColumnElement[Any] = literal_column("true" if table is events else "false").label("is_other")
    ids = select(table.c.id, is_other).where(table.c.company_id == _COMPANY_ID, *conditions)
    return select(ids.order_by(table.c.id).limit(literal_column(str(PUBLISHED_MAX))).subquery())


_next = (
    union_all(_next_ids(promo_events), _next_ids(events, IS_UNPUBLISHED))
    .order_by(literal_column("id"))
    .limit(literal_column(str(PUBLISHED_MAX)))
    .subquery("next")
)
# The ids of the next events as the text of an array, which the next statements take as it is, and whether some of the
# events are no events of promos.
_NEXT = Statement(
    select(cast(func.array_agg(aggregate_order_by(_next.c.id, _next.c.id)), Text), func.bool_or(_next.c.is_other))
)
_key = func.unnest(_IDS).table_valued("id", with_ordinality="place", name="key").render_derived()


def _move() -> Insert:
    """Move events from the outboxes, and number them."""
    moved = (
        delete(promo_events)
        # Without the promos: the primary key would be searched for each pair of a promo and an id.
        .where(promo_events.c.company_id == _COMPANY_ID, promo_events.c.id == func.any(_IDS))
        .returning(*promo_events.c)
        .cte("moved")
    )
    columns = [moved.c[name] for name in ("company_id", "id", "type", "promo_id", "data", "created_at")]
    rows = select(*columns, _AFTER + _key.c.place, func.now()).join_from(moved, _key, _key.c.id == moved.c.id)
    names = [*(column.name for column in columns), "number", "published_at"]
    return insert(events).from_select(names, rows, include_defaults=False).returning(events.c.type)


_MOVE = Statement(_move())
_NUMBER = Statement(
    update(events)
    .where(events.c.company_id == _COMPANY_ID, events.c.id == _key.c.id, IS_UNPUBLISHED)
    .values(number=_AFTER + _key.c.place, published_at=func.now())
    .returning(events.c.type)
)


def _deliver() -> Insert:
    """Insert the deliveries of published events to the webhooks of the company."""
    receivers = (
        select(webhooks.c.company_id, webhooks.c.id, events.c.id)
        .where(
            webhooks.c.company_id == _COMPANY_ID,
            webhooks.c.enabled,
            webhooks.c.deleted_at.is_(None),
            events.c.company_id == _COMPANY_ID,
            events.c.id == func.any(_IDS),
            receives(webhooks.c, events.c),
        )
        # The deletion of a webhook must wait, or be waited for. Otherwise it would leave these deliveries behind.
        .with_for_update(read=True, key_share=True, of=webhooks)
    )
    names = ["company_id", "webhook_id", "event_id"]
    return upsert(deliveries).from_select(names, receivers, include_defaults=False).on_conflict_do_nothing()


_DELIVER = Statement(_deliver())
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
_SINCE = bindparam("since", type_=DateTime(timezone=True))
_OLD = Statement(
    select(events.c.company_id, events.c.number)
    .where(events.c.published_at < _SINCE, ~IS_UNPUBLISHED)
    .order_by(events.c.published_at, events.c.number)
    .limit(_LIMIT)
)
_IS_OLD = and_(
    events.c.company_id == _COMPANY_ID,
    events.c.number <= bindparam("until", type_=BigInteger),
    events.c.published_at < _SINCE,
)
_LOCK_OLD = Statement(select(events.c.id).where(_IS_OLD).order_by(events.c.number).with_for_update())
_DELETE_OLD = Statement(delete(events).where(_IS_OLD))
_old = func.unnest(_IDS).table_valued("id", name="old").render_derived()
# Of each webhook, also of one that is being deleted. MATERIALIZED, so that the primary key finds the deliveries.
_keys = (
    select(webhooks.c.id.label("webhook_id"), _old.c.id.label("event_id"))
    .join_from(webhooks, _old, true())
    .where(webhooks.c.company_id == _COMPANY_ID)
    .order_by(webhooks.c.id, _old.c.id)
    .cte("keys")
    .prefix_with("MATERIALIZED")
)
_DELETE_DELIVERIES = Statement(
    delete(deliveries).where(
        deliveries.c.company_id == _COMPANY_ID, *(deliveries.c[key.name] == key for key in _keys.c)
    )
)


def _count(times: Select[Any]) -> Select[Any]:
    counted = times.limit(_LIMIT).subquery("counted")
    count: Select[Any] = select(func.count(counted.c.created_at).label("number"))
    return count.add_columns(func.min(counted.c.created_at).label("oldest"))


# In the order of the index of unpublished events, because the planner could read all events otherwise.
_counts = union_all(
    _count(select(promo_events.c.created_at)),
    _count(select(events.c.created_at).where(IS_UNPUBLISHED).order_by(events.c.company_id, events.c.id)),
).subquery("counts")
_age = func.extract("epoch", func.clock_timestamp() - func.min(_counts.c.oldest))
_BACKLOG = Statement(select(func.least(func.sum(_counts.c.number), _LIMIT), _age))
_ENDED = Statement(
    select(promos.c.id)
    .where(promos.c.active_until < TODAY, HAS_UNREPORTED_END)
    .order_by(promos.c.active_until, promos.c.id)
    .limit(_LIMIT)
)
_REPORT_END = Statement(select(func.report_end(bindparam("promo", type_=Uuid), TODAY)))


def list_waiting_companies(connection: Connection, *, after: UUID, limit: int) -> list[UUID]:
    """Return companies with unpublished events, in the order of their ids. Call it in a transaction."""
    _USE_INDEXES.rows(connection, {})
    companies: list[UUID] = []
    # One after the other: a company may have a million events, which a statement for all companies would read.
    while len(companies) < limit and (row := _NEXT_WAITING.row(connection, {"company": after})) is not None:
        [after] = row
        companies.append(after)
    return companies


def update_event_numbers(connection: Connection, company_id: UUID) -> list[str]:
    """Number the next events of a company in a transaction, insert their deliveries, and return their types.

    Empty: there are none, or another process publishes events of the company.
    """
    values: dict[str, Any] = {"company": company_id}
    _USE_INDEXES.rows(connection, {})
    # A separate statement for the lock, so that the next ones see the events that are committed by then.
    feed = _CLAIM_FEED.row(connection, values) or _INSERT_FEED.row(connection, values)
    if feed is None:
        return []
    [(ids, has_others)] = _NEXT.rows(connection, values)
    if ids is None:
        return []
    values |= {"after": feed[0], "ids": ids}
    statements = (_NUMBER, _MOVE) if has_others else (_MOVE,)
    types = [type_ for statement in statements for [type_] in statement.rows(connection, values)]
    _DELIVER.count(connection, values)
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


def list_old_events(connection: Connection, since: datetime, *, limit: int) -> dict[UUID, int]:
    """Return companies with events that were published before this time, each with the last number of such an event.

    `limit` is of the events of all these companies; the oldest come first.
    """
    last: dict[UUID, int] = {}
    for company_id, number in _OLD.rows(connection, {"since": since, "limit": limit}):
        last[company_id] = max(number, last.get(company_id, 0))
    return last


def delete_old_events(connection: Connection, company_id: UUID, until: int, since: datetime) -> int:
    """Delete the old events of a company up to a number in a transaction, and return how many.

    All of them, so that no gap appears. The deliveries of an event are deleted with it.
    """
    values = {"company": company_id, "until": until, "since": since}
    ids = [row[0] for row in _LOCK_OLD.rows(connection, values)]
    # A separate statement after the lock, so that it sees the deliveries that are committed by then.
    _DELETE_DELIVERIES.count(connection, {**values, "ids": ids})
    return _DELETE_OLD.count(connection, values)


def count_backlog(connection: Connection, *, limit: int) -> Backlog:
    """Count the unpublished events."""
    [row] = _BACKLOG.rows(connection, {"limit": limit})
    return Backlog(int(row[0]), float(row[1] or 0))


def insert_end_events(connection: Connection, today: date, *, limit: int) -> int:
    """Write an event for promos whose last day has ended, once for each end, and return how many."""
    ended = _ENDED.rows(connection, {"today": today, "limit": limit})
    return sum(_REPORT_END.value(connection, {"promo": promo_id, "today": today}) for [promo_id] in ended)
