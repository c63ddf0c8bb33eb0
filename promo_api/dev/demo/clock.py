"""A clock of the database that the demo sets, so that the service writes the rows of a month ago as it did then.

Functions in the schema `demo` hide the clock functions of PostgreSQL: the schema comes first in the search path of the
session, and the defaults of the columns call them too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from persistence.database.engine import Database

_FUNCTIONS = {"clock_timestamp": "VOLATILE", "statement_timestamp": "STABLE", "now": "STABLE"}
_CREATE = """
    CREATE FUNCTION demo.{name}() RETURNS timestamptz {volatility} LANGUAGE sql
    AS $$ SELECT current_setting('demo.time')::timestamptz $$
"""
_DEFAULTS = """
    SELECT 'ALTER TABLE ' || adrelid::regclass || ' ALTER COLUMN ' || quote_ident(attname)
        || ' SET DEFAULT ' || pg_get_expr(adbin, adrelid)
    FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
    JOIN pg_class ON pg_class.oid = adrelid
    WHERE relnamespace = 'public'::regnamespace AND pg_get_expr(adbin, adrelid) IN ('now()', 'clock_timestamp()')
"""


class DatabaseClock:
    """The time of the session and of the service in this process."""

    def __init__(self, starts_at: datetime) -> None:
        self._time = starts_at

    def __call__(self) -> datetime:
        """Return the time."""
        return self._time

    def set(self, connection: Any, time: datetime) -> None:
        """Set the time of the session and of this process."""
        self._time = time
        connection.exec_driver_sql("SELECT set_config('demo.time', %s, false)", (time.isoformat(),))

    @contextmanager
    def in_database(self, database: Database) -> Iterator[None]:
        """Let the database use this clock. The pool must have one connection.

        After an error the defaults stay changed: the database is of no use then.
        """
        with database.autocommit() as connection:
            connection.exec_driver_sql("CREATE SCHEMA demo")
            for name, volatility in _FUNCTIONS.items():
                connection.exec_driver_sql(_CREATE.format(name=name, volatility=volatility))
            defaults = [row[0] for row in connection.exec_driver_sql(_DEFAULTS)]
            # The defaults are parsed again, now with the functions of the demo.
            connection.exec_driver_sql("SET search_path = demo, pg_catalog, public")
            for statement in defaults:
                connection.exec_driver_sql(statement)
            self.set(connection, self._time)
        yield
        with database.autocommit() as connection:
            connection.exec_driver_sql("RESET search_path")
            for statement in defaults:
                connection.exec_driver_sql(statement)
            # Without CASCADE, this fails if a column still uses one.
            for name in _FUNCTIONS:
                connection.exec_driver_sql(f"DROP FUNCTION demo.{name}()")
            connection.exec_driver_sql("DROP SCHEMA demo CASCADE")
