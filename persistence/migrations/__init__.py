"""Migrations: Alembic revisions in `versions/`, applied by one process at a time."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, text

from persistence.database.cluster import has_citus, is_coordinator
from persistence.database.errors import unavailable
from persistence.database.timeouts import unlimited_transaction

# An arbitrary key for the advisory lock.
_LOCK = 5_174_811_922


def update_schema(engine: Engine) -> None:
    """Apply missing migrations in one transaction without time limits. Concurrent calls wait.

    Raises:
        ServiceUnavailable: the server is in a Citus cluster, and not its coordinator.
    """
    with unlimited_transaction(engine) as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        if has_citus(connection):
            _prepare_for_citus(connection)
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _prepare_for_citus(connection: Connection) -> None:
    if not is_coordinator(connection):
        raise unavailable("this server is a worker of a Citus cluster. Connect to the coordinator")
    # A trigger of a table writes only tables of the same group, on the same server.
    connection.execute(text("SET LOCAL citus.enable_unsafe_triggers = on"))
    # A transaction that changes tables and rows must use one connection for each server.
    connection.execute(text("SET LOCAL citus.multi_shard_modify_mode = 'sequential'"))


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return config
