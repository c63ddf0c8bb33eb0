"""Separate, empty databases on the PostgreSQL server of the tests."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import psycopg
import pytest
from psycopg import sql

from persistence.database.engine import Database
from promo_api.config.settings import Settings
from promo_api.runtime import Runtime
from tests.pgbouncer import limited

_numbers = count(1)


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
