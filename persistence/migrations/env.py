"""Alembic runs this file."""

from alembic import context

from persistence.schema.activity_tables import promo_activity
from persistence.schema.audit_tables import account_events
from persistence.schema.event_tables import events
from persistence.schema.feed_tables import feed_entries
from persistence.schema.job_tables import jobs
from persistence.schema.redemption_tables import redemptions
from persistence.schema.reset_tables import password_resets
from persistence.schema.webhook_tables import webhooks

# Imports all tables.
_TABLES = (feed_entries, account_events, events, jobs, password_resets, promo_activity, redemptions, webhooks)
[metadata] = {table.metadata for table in _TABLES}
context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
