"""The background jobs of events: publication, the ends of promos, deletion, and the metrics of what waits."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from uuid import UUID

from persistence.database.engine import Database
from persistence.events import (
    PUBLISHED_MAX,
    count_backlog,
    delete_old_events,
    insert_end_events,
    list_old_events,
    list_waiting_companies,
    update_event_numbers,
)
from promo_api.background import BackgroundJob
from promo_api.sweeper import Sweeper
from promo_api.telemetry import metrics

_EVENTS_EVERY_S = 1.0
_COMPANIES = 100
_ENDS, _ENDS_EVERY_S = 100, 5.0
_OLD, _OLD_EVERY_S = 1000, 60.0
_BACKLOG_MAX, _BACKLOG_EVERY_S = 1_000_000, 15.0
_FIRST_ID = UUID(int=0)


def events_sweeper(database: Database, every_s: float = _EVENTS_EVERY_S) -> Sweeper:
    """Return the sweeper that publishes events: companies take turns, so that none waits for the events of another."""
    after = _FIRST_ID

    def step() -> int:
        nonlocal after
        with database.transaction() as connection:
            companies = list_waiting_companies(connection, after=after, limit=_COMPANIES)
        after = companies[-1] if len(companies) == _COMPANIES else _FIRST_ID
        return sum(_publish(database, company_id) for company_id in companies)

    return Sweeper("events", step, PUBLISHED_MAX, every_s)


def ended_promos_sweeper(database: Database, today: Callable[[], date], every_s: float = _ENDS_EVERY_S) -> Sweeper:
    """Return the sweeper that reports promos whose last day has ended."""

    def step() -> int:
        with database.autocommit() as connection:
            return insert_end_events(connection, today(), limit=_ENDS)

    return Sweeper("ended_promos", step, _ENDS, every_s)


def old_events_sweeper(
    database: Database, clock: Callable[[], datetime], stored_days: int, every_s: float = _OLD_EVERY_S
) -> Sweeper:
    """Return the sweeper that deletes old events with their deliveries."""

    def step() -> int:
        since = clock() - timedelta(days=stored_days)
        with database.autocommit() as connection:
            old = list_old_events(connection, since, limit=_OLD)
        return sum(_delete_old(database, company_id, until, since) for company_id, until in old.items())

    return Sweeper("old_events", step, _OLD, every_s)


def events_backlog_job(database: Database, every_s: float = _BACKLOG_EVERY_S) -> BackgroundJob:
    """Return the job that measures what waits for publication."""

    def measure() -> bool:
        with database.autocommit() as connection:
            backlog = count_backlog(connection, limit=_BACKLOG_MAX)
        metrics.events_waiting(backlog.events, backlog.age_s)
        return False

    return BackgroundJob("events_backlog", measure, every_s)


def _delete_old(database: Database, company_id: UUID, until: int, since: datetime) -> int:
    with database.transaction() as connection:
        return delete_old_events(connection, company_id, until, since)


def _publish(database: Database, company_id: UUID) -> int:
    with database.transaction() as connection:
        types = update_event_numbers(connection, company_id)
    for type_ in types:
        metrics.event_published(type_)
    return len(types)
