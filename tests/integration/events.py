"""The events of companies, for tests: written, published and read."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Table, func, insert, select, union_all, update

from persistence.database.engine import Database
from persistence.schema.event_tables import IS_UNPUBLISHED, events, promo_events
from promo_api.event_sweepers import events_sweeper, old_events_sweeper
from promo_api.runtime import Runtime
from promo_api.sweeper import Sweeper
from tests.accounts import Account

PATH = "/business/events"


def publish(runtime: Runtime) -> None:
    """Publish all events."""
    sweeper = events_sweeper(runtime.database)
    while sweeper.sweep():
        pass


def read(runtime: Runtime, company: Account, query: str = "limit=100") -> list[dict[str, Any]]:
    """Publish all events, and return those of the company."""
    publish(runtime)
    response = company.get(f"{PATH}?{query}")
    assert response.status_code == 200, response.text
    page: list[dict[str, Any]] = response.json()
    return page


def types(runtime: Runtime, company: Account, query: str = "limit=100") -> list[str]:
    """Return the types of the events of the company, without the creation of promos."""
    return [event["type"] for event in read(runtime, company, query) if event["type"] != "promo.created"]


def data_of(runtime: Runtime, company: Account, type_: str) -> list[dict[str, Any]]:
    """Return the data of the events of a type."""
    return [event["data"] for event in read(runtime, company, f"limit=100&type={type_}")]


def fill(database: Database, company_id: UUID, count: int) -> None:
    """Write events that are not published: half of them to the outbox of promos, the others to `events`."""
    event = {"company_id": company_id, "type": "promo.changed", "promo_id": uuid4()}
    with database.transaction() as connection:
        for outbox, number in ((promo_events, count - count // 2), (events, count // 2)):
            if number:
                connection.execute(insert(outbox), [event] * number)


def write(connection: Connection, company_id: UUID, type_: str, outbox: Table = promo_events) -> None:
    """Write an event that is not published."""
    connection.execute(insert(outbox).values(company_id=company_id, type=type_, promo_id=uuid4()))


def unpublished(connection: Connection, company_id: UUID) -> list[str]:
    """Return the types of the events of a company that are not published."""
    outboxes = (promo_events, promo_events.c.id.is_not(None)), (events, IS_UNPUBLISHED)
    queries = (select(table.c.type).where(table.c.company_id == company_id, which) for table, which in outboxes)
    return list(connection.scalars(union_all(*queries)))


def publish_new(runtime: Runtime, count: int, company_id: UUID | None = None) -> tuple[UUID, list[UUID]]:
    """Publish new events of a company, by default of a new one, and return the company and its events by number."""
    company_id = company_id or uuid4()
    fill(runtime.database, company_id, count)
    publish(runtime)
    return company_id, event_ids(runtime.database, company_id)


def event_ids(database: Database, company_id: UUID) -> list[UUID]:
    """Return the ids of the published events of a company, by number."""
    query = select(events.c.id).where(events.c.company_id == company_id, events.c.number.is_not(None))
    with database.autocommit() as connection:
        return list(connection.scalars(query.order_by(events.c.number)))


def sweeper_of_old_events(runtime: Runtime) -> Sweeper:
    """Return the sweeper of events that are 30 days old, after it has deleted those of other tests."""
    sweeper = old_events_sweeper(runtime.database, runtime.clock, 30)
    while sweeper.sweep():
        pass
    return sweeper


def age(database: Database, event_ids: list[UUID], days: int) -> None:
    """Let events have been published this number of days ago."""
    with database.autocommit() as connection:
        published_at = func.now() - timedelta(days=days)
        connection.execute(update(events).where(events.c.id.in_(event_ids)).values(published_at=published_at))
