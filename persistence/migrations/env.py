"""Run by Alembic: applies migrations on the connection that `update_schema` lends."""

from alembic import context

from persistence.trail_tables import account_events

# The model is whole once both modules of tables have been imported, of which this is the second.
context.configure(connection=context.config.attributes["connection"], target_metadata=account_events.metadata)
context.run_migrations()
