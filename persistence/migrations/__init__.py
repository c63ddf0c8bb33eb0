"""Migrations: Alembic revisions in `versions/`, applied by one process at a time."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, text

from persistence.database.timeouts import unlimited_transaction

# An arbitrary key for the advisory lock.
_LOCK = 5_174_811_922


def update_schema(engine: Engine) -> None:
    """Apply missing migrations in one transaction without time limits. Concurrent calls wait."""
    with unlimited_transaction(engine) as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return config
