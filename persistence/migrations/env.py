"""Run by Alembic: applies migrations on the connection that `update_schema` lends."""

from alembic import context

from persistence.schema.audit_tables import account_events
from persistence.schema.feed_tables import feed_entries

# The model is complete when all modules of tables have been imported.
[metadata] = {table.metadata for table in (feed_entries, account_events)}
context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
