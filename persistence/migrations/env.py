"""Run by Alembic: applies migrations on the connection that `update_schema` lends."""

from alembic import context

from persistence.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
