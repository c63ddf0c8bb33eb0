"""Events of companies, and the outboxes in which they wait for publication.

A trigger writes an event in the transaction that causes it, so that each process reports each event, also one of an
earlier version. The outbox of promos is promo_events, because their transactions write rows of one promo only. Other
events, of jobs and webhooks, wait in `events` itself, without a number. Events are without personal data and codes.
They belong to the accounts: the key of `events` begins with the company, and promo_id is no foreign key.

A transaction may commit after a later one. So the publisher numbers the events of a company after their commit, under
the lock of its row in event_feeds, and moves those of promos to `events`. The numbers have no gap, and a reader misses
no event. Lock order: event_feeds, promo_events, events; the other tables of promos before them.
"""

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Index, Table, Text, Uuid, func, literal_column
from sqlalchemy.dialects.postgresql import JSONB

from persistence.schema.tables import metadata

events = Table(
    "events",
    metadata,
    Column("company_id", Uuid, primary_key=True),
    # A UUIDv7 by the clock of PostgreSQL, which is the same for all processes.
    Column("id", Uuid, primary_key=True, server_default=func.event_id()),
    Column("type", Text, nullable=False),
    Column("promo_id", Uuid),
    Column("data", JSONB, nullable=False, server_default=literal_column("'{}'")),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    # NULL until the event is published.
    Column("number", BigInteger),
    Column("published_at", DateTime(timezone=True)),
    CheckConstraint("(number IS NULL) = (published_at IS NULL)", name="published"),
)
IS_UNPUBLISHED = events.c.number.is_(None)
Index("events_unpublished", events.c.company_id, events.c.id, postgresql_where=IS_UNPUBLISHED)
Index("events_number", events.c.company_id, events.c.number, unique=True, postgresql_where=~IS_UNPUBLISHED)
Index("events_type", events.c.company_id, events.c.type, events.c.number, postgresql_where=~IS_UNPUBLISHED)
Index("events_published", events.c.published_at, events.c.number, postgresql_where=~IS_UNPUBLISHED)

# Events of promos that are not published yet, with the key of the promo. The publisher deletes them.
promo_events = Table(
    "promo_events",
    metadata,
    Column("promo_id", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True, server_default=func.event_id()),
    Column("company_id", Uuid, nullable=False),
    Column("type", Text, nullable=False),
    Column("data", JSONB, nullable=False, server_default=literal_column("'{}'")),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
)
Index("promo_events_company", promo_events.c.company_id, promo_events.c.id)

# The last number of each company.
event_feeds = Table(
    "event_feeds",
    metadata,
    Column("company_id", Uuid, primary_key=True),
    Column("last_number", BigInteger, nullable=False, server_default="0"),
    postgresql_with={"fillfactor": "50"},
)
