"""Separate, empty databases on the PostgreSQL server of the tests."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Connection

from persistence.accounts.users import User, find_user
from persistence.database.engine import Database
from persistence.feeds.feed_counts import count_mismatched_feed_counts, update_feed_counts
from persistence.feeds.feed_index import count_mismatched_feed_entries
from persistence.migrations import update_schema
from promo_api.config.settings import Settings
from promo_api.runtime import Runtime
from tests.pgbouncer import limited

_numbers = count(1)
_ROWS = Path(__file__).with_name("many_promos.sql")


@contextmanager
def _fresh_database(settings: Settings, worker: str, options: str = "") -> Iterator[Settings]:
    name = f"promo_persistence_{worker}_{os.getpid()}_{next(_numbers)}"
    target = {
        "host": settings.postgres_host,
        "port": settings.postgres_port,
        "user": settings.postgres_username,
        "password": settings.postgres_password or None,
        "dbname": settings.postgres_database,
    }
    with closing(psycopg.connect(**target, autocommit=True)) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} {}").format(sql.Identifier(name), sql.SQL(options)))
        try:
            yield replace(settings, postgres_database=name)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def empty(settings: Settings, worker_id: str) -> Iterator[Settings]:
    """The settings of a service whose database is empty."""
    with _fresh_database(settings, worker_id) as fresh:
        yield fresh


@pytest.fixture
def empty_in_latin1(settings: Settings, worker_id: str) -> Iterator[Settings]:
    """Like `empty`, in another encoding."""
    with _fresh_database(settings, worker_id, "ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0") as fresh:
        yield fresh


@pytest.fixture(scope="module")
def empty_for_module(settings: Settings, worker_id: str) -> Iterator[Settings]:
    """Like `empty`, but shared by the tests of a module."""
    with _fresh_database(settings, worker_id) as fresh:
        yield fresh


@pytest.fixture
def open_database(settings: Settings, runtime: Runtime) -> Iterator[Callable[..., Database]]:
    """Return a function that opens the database of the tests, or of other settings, with changed settings.

    The fixture `runtime` creates the tables.
    """
    assert runtime.database
    with ExitStack() as stack:

        def open_with(base: Settings = settings, **changes: Any) -> Database:
            database = Database(limited(replace(base, **changes)))
            stack.callback(database.close)
            return database

        yield open_with


@pytest.fixture(scope="module")
def many_promos(empty_for_module: Settings) -> Iterator[Database]:
    """A database with 50,000 promos and their related rows, after ANALYZE."""
    # One statement inserts all rows, and takes longer than the default timeout.
    changed = limited(replace(empty_for_module, postgres_statement_timeout_s=300.0))
    with closing(Database(changed)) as database:
        update_schema(database.engine)
        with database.engine.begin() as connection:
            rows = _ROWS.read_text(encoding="utf-8")
            connection.exec_driver_sql(rows, execution_options={"no_parameters": True})
            assert update_feed_counts(connection, limit=100_000) == 50_000
            assert (count_mismatched_feed_counts(connection), count_mismatched_feed_entries(connection)) == (0, 0)
        with database.autocommit() as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
        yield database


@pytest.fixture
def connection(many_promos: Database) -> Iterator[Connection]:
    """A connection to that database."""
    with many_promos.autocommit() as connection:
        yield connection


@pytest.fixture
def user(connection: Connection) -> User:
    """A user of that database."""
    user = find_user(connection, UUID(int=1))
    assert user is not None
    return user
