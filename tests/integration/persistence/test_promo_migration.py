"""Migration 0025: functions, triggers and the outbox of promos, while processes of the version before still write."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from alembic import command
from sqlalchemy import Connection, text

from persistence import migrations
from persistence.activations import Claim, claim_values
from persistence.database.engine import Database
from persistence.events import update_event_numbers
from persistence.feeds.feed_counts import update_feed_counts
from persistence.migrations import update_schema
from promo_api import stored_counts
from promo_api.config.settings import Settings
from promo_api.dev.processes import wait_until
from tests.integration.events import unpublished
from tests.integration.persistence import feeds

Open = Callable[..., Database]
_COMPANY, _USER, _PROMO = UUID(int=1), UUID(int=1), UUID(int=7)
# Statements of the version before.
_LIKE = """
    WITH promo AS (SELECT promo_id FROM promo_counters WHERE promo_id = :promo FOR UPDATE), liked AS (
        INSERT INTO likes (promo_id, user_id, quarter, country_key)
        SELECT promo_id, :user, quarter_of(statement_timestamp()), 'ru' FROM promo ON CONFLICT DO NOTHING
        RETURNING promo_id
    ), counted AS (
        UPDATE promo_counters SET like_count = like_count + 1 FROM liked
        WHERE promo_counters.promo_id = liked.promo_id
    )
    SELECT promo_id FROM promo
"""
_COMMENT = """
    WITH locked AS (SELECT promo_id FROM promo_counters WHERE promo_id = :promo FOR UPDATE), counted AS (
        UPDATE promo_counters SET comment_count = comment_count + 1 FROM locked
        WHERE promo_counters.promo_id = locked.promo_id RETURNING promo_counters.promo_id
    )
    INSERT INTO comments (promo_id, id, author_id, text, country_key)
    SELECT promo_id, gen_random_uuid(), :user, 'A comment', 'ru' FROM counted
"""
_CLAIM = "SELECT claim_uses(:promo, ARRAY[gen_random_uuid()], ARRAY[CAST(:user AS uuid)], '{ru}', '{30}', '2026-03-17')"
_PROMOS = """
    INSERT INTO promos (id, company_id, mode, description, category_keys, promo_common)
    VALUES (:promo, :company, 'COMMON', 'A promo', '{}', 'value');
    INSERT INTO promo_counters (promo_id, use_limit, activation_events) VALUES (:promo, 2, true);
    INSERT INTO company_promo_counts (company_id, country_key, promos_count) VALUES (:company, '', 1);
    INSERT INTO promo_changes (promo_id, number, company_id, event) VALUES (:promo, 1, :company, 'created');
    INSERT INTO feed_entries (category_key, country_key, created_at, promo_id, standing)
    SELECT '', '', created_at, id, 'live' FROM promos;
    INSERT INTO feed_tally_changes (promo_count, usable_count, category_keys) VALUES (1, 1, '{}')
"""
_IDS = {"promo": _PROMO, "company": _COMPANY, "user": _USER}


def _migrate(connection: Connection, revision: str, *, down: bool = False) -> None:
    config = migrations._config()
    config.attributes["connection"] = connection
    (command.downgrade if down else command.upgrade)(config, revision)


@pytest.fixture
def database(open_database: Open, empty: Settings) -> Database:
    """A database of revision 0024 with a promo of two uses."""
    database = open_database(empty)
    with database.engine.begin() as connection:
        _migrate(connection, "0024")
        feeds.insert_accounts(connection)
        for statement in _PROMOS.split(";"):
            connection.execute(text(statement), _IDS)
    return database


def _run(database: Database, *statements: str) -> list[Any]:
    """Run statements, and return the first row of each query."""
    with database.transaction() as connection:
        results = [connection.execute(text(statement), _IDS) for statement in statements]
        return [result.first() for result in results if result.returns_rows]


def _assert_exact(database: Database) -> None:
    with database.transaction() as connection:
        update_feed_counts(connection, limit=100)
        assert {
            name: recount(connection) for name, recount in stored_counts.COUNTS.items() if recount(connection)
        } == {}


def test_old_statements(database: Database) -> None:
    """Claims, likes and comments of the version before are counted, before and after the migration and a downgrade."""
    _run(database, _LIKE, _COMMENT, _CLAIM)
    update_schema(database.engine)
    _assert_exact(database)
    _run(database, _LIKE, _COMMENT, _CLAIM)
    _assert_exact(database)
    activity = "SELECT sum(activations), sum(likes), sum(comments) FROM promo_activity"
    assert _run(database, activity) == [(2, 1, 2)]
    assert _run(database, "SELECT standing FROM feed_entries") == [("exhausted",)]
    with database.engine.begin() as connection:
        _migrate(connection, "0024", down=True)
    _run(
        database,
        _COMMENT,
        "UPDATE promo_counters SET use_limit = 3",
        "UPDATE feed_entries SET standing = 'live'",
        _CLAIM,
    )
    assert _run(database, activity) == [(3, 1, 3)]
    assert _run(database, "SELECT standing FROM feed_entries") == [("exhausted",)]


def test_claim_that_began_before(database: Database) -> None:
    """A claim that waits for the migration goes on with the function of the version before, and counts once."""
    _run(database, _CLAIM)
    with ThreadPoolExecutor(1) as threads:
        with database.engine.begin() as migration:
            _migrate(migration, "head")
            claim = threads.submit(_run, database, _CLAIM)
            assert wait_until(lambda: _waits(database), 30)
        assert claim.result(30) == [("value",)]
    _assert_exact(database)
    assert _run(database, "SELECT sum(activations) FROM promo_activity") == [(2,)]
    assert _run(database, "SELECT standing FROM feed_entries") == [("exhausted",)]


def _waits(database: Database) -> bool:
    query = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return _run(database, query) != [None]


def test_events(database: Database) -> None:
    """Unpublished events of the version before are published with later ones, in order. A downgrade keeps both."""
    _run(database, _CLAIM, _COMMENT)
    with database.engine.begin() as connection:
        _migrate(connection, "head")
        claims = [Claim(uuid4(), _USER, "ru", 30)]
        assert claim_values(connection, _PROMO, claims, feeds.TODAY) == ["value"]
        expected = ["promo.created", "promo.activated", "comment.created", "promo.activated", "promo.exhausted"]
        assert sorted(unpublished(connection, _COMPANY)) == sorted(expected)
        with connection.begin_nested() as savepoint:
            assert sorted(update_event_numbers(connection, _COMPANY)) == sorted(expected)
            listed = connection.scalars(text("SELECT type FROM events ORDER BY number")).all()
            assert listed == expected
            savepoint.rollback()
        _migrate(connection, "0024", down=True)
        assert connection.scalars(text("SELECT type FROM events WHERE number IS NULL ORDER BY id")).all() == expected
