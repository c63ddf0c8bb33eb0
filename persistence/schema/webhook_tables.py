"""Webhooks of companies, and what is delivered to them.

They belong to the accounts: their keys begin with the company. The publisher of events inserts the deliveries, see
event_tables. A process that sends a delivery moves its due time forward, as a lease. Lock order: webhooks, deliveries.
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    true,
)

from persistence.schema.tables import metadata

webhooks = Table(
    "webhooks",
    metadata,
    Column("company_id", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("url", Text, nullable=False),
    Column("event_types", ARRAY(Text), nullable=False),  # empty: all types
    Column("enabled", Boolean, nullable=False, server_default=true()),
    # Encrypted with SECRET_KEY.
    Column("secret", Text, nullable=False),
    # The secret before the last rotation signs too, until this time.
    Column("previous_secret", Text),
    Column("previous_until", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    # Since the last successful delivery: the time of the first failure, the number of failures, and the time before
    # which no delivery is sent. NULL and 0: none has failed.
    Column("failing_since", DateTime(timezone=True)),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("paused_until", DateTime(timezone=True)),
    # Why the service has disabled it. NULL: it has not, or the company has enabled it again.
    Column("disabled_reason", Text),
    Column("disabled_at", DateTime(timezone=True)),
    # When to mail that it was disabled; a lease as for deliveries. NULL: nothing is to be sent.
    Column("mail_due_at", DateTime(timezone=True)),
    Column("mail_attempts", Integer, nullable=False, server_default="0"),
    # Events with a higher number are to be delivered again. NULL: none.
    Column("redeliver_after", BigInteger),
    # A sweeper deletes the deliveries, and then the webhook.
    Column("deleted_at", DateTime(timezone=True)),
    CheckConstraint("(previous_secret IS NULL) = (previous_until IS NULL)", name="previous"),
    CheckConstraint("(failing_since IS NULL) = (failures = 0)", name="failing"),
    CheckConstraint("disabled_reason IN ('gone', 'failing')", name="known_reason"),
    CheckConstraint("(disabled_reason IS NULL) = (disabled_at IS NULL)", name="disabled"),
    CheckConstraint("NOT (enabled AND disabled_reason IS NOT NULL)", name="enabled"),
    postgresql_with={"fillfactor": "50"},
)
Index("webhooks_mail_due", webhooks.c.mail_due_at, postgresql_where=webhooks.c.mail_due_at.is_not(None))
Index(
    "webhooks_redeliver",
    webhooks.c.company_id,
    webhooks.c.id,
    postgresql_where=webhooks.c.redeliver_after.is_not(None),
)
Index("webhooks_deleted", webhooks.c.company_id, webhooks.c.id, postgresql_where=webhooks.c.deleted_at.is_not(None))

deliveries = Table(
    "deliveries",
    metadata,
    Column("company_id", Uuid, primary_key=True),
    Column("webhook_id", Uuid, primary_key=True),
    Column("event_id", Uuid, primary_key=True),
    Column("state", Text, nullable=False, server_default="pending"),
    # NULL: it has succeeded, or is not tried any more.
    Column("due_at", DateTime(timezone=True), server_default=func.now()),
    # Of the event or of the last request to deliver it again.
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("attempts", SmallInteger, nullable=False, server_default="0"),
    # Of the last attempt; no status: there was no response, see `error`.
    Column("attempted_at", DateTime(timezone=True)),
    Column("status", SmallInteger),
    Column("error", Text),
    CheckConstraint("state IN ('pending', 'succeeded', 'failed')", name="known_state"),
    CheckConstraint("(state = 'pending') = (due_at IS NOT NULL)", name="due"),
)
IS_DUE = deliveries.c.due_at.is_not(None)
Index("deliveries_due", deliveries.c.company_id, deliveries.c.webhook_id, deliveries.c.due_at, postgresql_where=IS_DUE)
