"""Migration 0021: earlier activity is counted in batches, while processes of the earlier version write."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from threading import Event
from typing import Any
from uuid import UUID, uuid4

import pytest
from alembic import command
from sqlalchemy import Connection, text

from persistence import activity_backfills, migrations
from persistence.consistency import count_mismatched_activity, count_mismatched_redemption_activity
from persistence.database.engine import Database
from persistence.migrations import update_schema
from promo_api.config.settings import Settings
from promo_api.dev.processes import wait_until
from promo_api.sweeper import activity_backfills_sweeper

Open = Callable[..., Database]
_PROMOS, _THREADS, _TIMEOUT_S = 8, 4, 60
_ROWS = """
    INSERT INTO companies (id, name, email, email_key, password_hash) VALUES ({one}, 'Company', 'c', 'c', 'hash');
    INSERT INTO users (id, name, surname, email, email_key, password_hash, age, country, country_key)
    SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'Ann', 'Lee', 'u' || n, 'u' || n, 'hash', 30,
        'RU', (ARRAY['ru', 'fr'])[1 + n % 2]
    FROM generate_series(1, 20) AS n;
    INSERT INTO users (id, created_at) VALUES ({one}, NULL);
    INSERT INTO promos (id, company_id, mode, description, category_keys, promo_common)
    SELECT gen_random_uuid(), {one}, 'COMMON', 'A promo', '{{}}', 'value' FROM generate_series(1, {promos});
    INSERT INTO activations (promo_id, user_id, id, country_key, activated_at)
    SELECT promos.id, users.id, gen_random_uuid(), coalesce(users.country_key, 'us'),
        now() - n * interval '7 hours'
    FROM promos, users, generate_series(0, 20) AS n;
    INSERT INTO likes (promo_id, user_id) SELECT promos.id, users.id FROM promos, users WHERE users.email = 'u1';
    INSERT INTO comments (promo_id, id, author_id, text, created_at)
    SELECT promos.id, gen_random_uuid(), users.id, 'A comment', now() - n * interval '5 hours'
    FROM promos, users, generate_series(0, 9) AS n;
    INSERT INTO promo_counters (promo_id, use_limit, used_count, like_count, comment_count)
    SELECT id, 1000000, (SELECT count(*) FROM activations WHERE promo_id = promos.id), 1,
        (SELECT count(*) FROM comments WHERE promo_id = promos.id)
    FROM promos;
    INSERT INTO country_uses SELECT promo_id, country_key, count(*) FROM activations GROUP BY promo_id, country_key;
    INSERT INTO user_uses SELECT user_id, count(*) FROM activations GROUP BY user_id
"""
# The statements of version 0020.
_LIKE = """
    WITH promo AS (SELECT promo_id FROM promo_counters WHERE promo_id = :promo FOR UPDATE), liked AS (
        INSERT INTO likes (promo_id, user_id) SELECT promo_id, :user FROM promo ON CONFLICT DO NOTHING
        RETURNING promo_id
    )
    UPDATE promo_counters SET like_count = like_count + 1 FROM liked WHERE promo_counters.promo_id = liked.promo_id
"""
_UNLIKE = """
    WITH promo AS (SELECT promo_id FROM promo_counters WHERE promo_id = :promo FOR UPDATE), unliked AS (
        DELETE FROM likes USING promo WHERE likes.promo_id = promo.promo_id AND user_id = :user
        RETURNING likes.promo_id
    )
    UPDATE promo_counters SET like_count = like_count - 1 FROM unliked WHERE promo_counters.promo_id = unliked.promo_id
"""
_COMMENT = """
    WITH promo AS (SELECT promo_id FROM promo_counters WHERE promo_id = :promo FOR UPDATE), counted AS (
        UPDATE promo_counters SET comment_count = comment_count + 1 FROM promo
        WHERE promo_counters.promo_id = promo.promo_id RETURNING promo_counters.promo_id
    )
    INSERT INTO comments (promo_id, id, author_id, text) SELECT promo_id, :new, :user, 'A comment' FROM counted
"""
_DELETE_COMMENT = """
    WITH promo AS (SELECT promo_id FROM promo_counters WHERE promo_id = :promo FOR UPDATE), deleted AS (
        DELETE FROM comments USING promo WHERE comments.promo_id = promo.promo_id
            AND id = (SELECT id FROM comments WHERE promo_id = :promo ORDER BY random() LIMIT 1)
        RETURNING comments.promo_id
    )
    UPDATE promo_counters SET comment_count = comment_count - 1 FROM deleted
    WHERE promo_counters.promo_id = deleted.promo_id
"""
_CLAIM = "SELECT claim_uses(:promo, ARRAY[:new]::uuid[], ARRAY[:user]::uuid[], '{ru}', '{30}', DATE '2026-01-01')"
_REDEEM = "SELECT redeem_code(:promo, NULL, :new, :company, NULL, NULL)"
_VOID = """
    SELECT change_redemption(:promo, id, 'voided') FROM (
        SELECT id FROM redemptions WHERE promo_id = :promo AND state = 'confirmed' ORDER BY random() LIMIT 1
    ) AS redemption
"""
_STATEMENTS = [_CLAIM, _LIKE, _COMMENT, _REDEEM, _UNLIKE, _DELETE_COMMENT, _VOID, _REDEEM]
_SUMS = """
    SELECT promo_id, used_count, comment_count,
        (SELECT coalesce(sum(activations), 0) FROM promo_activity WHERE promo_id = counters.promo_id),
        (SELECT coalesce(sum(comments), 0) FROM promo_activity WHERE promo_id = counters.promo_id),
        (SELECT confirmed_count FROM redemption_counters WHERE promo_id = counters.promo_id),
        (SELECT coalesce(sum(redemptions), 0) FROM redemption_activity WHERE promo_id = counters.promo_id)
    FROM promo_counters AS counters
"""


@pytest.fixture
def database(open_database: Open, empty: Settings) -> Database:
    """A database of revision 0020 with 8 promos, their activations, likes, comments and redemptions."""
    database = open_database(empty, server_threads=_THREADS + 4)
    with database.engine.begin() as connection:
        config = migrations._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0020")
        rows = _ROWS.format(one=f"'{UUID(int=1)}'", promos=_PROMOS)
        connection.exec_driver_sql(rows, execution_options={"no_parameters": True})
        for promo_id in _promo_ids(connection):
            for _ in range(5):
                connection.execute(text(_REDEEM), {"promo": promo_id, "new": uuid4(), "company": UUID(int=1)})
    return database


def _promo_ids(connection: Connection) -> list[UUID]:
    return list(connection.scalars(text("SELECT id FROM promos ORDER BY id")))


@contextmanager
def _old_processes(database: Database) -> Iterator[Callable[[], int]]:
    """Let threads write with the statements of the earlier version; yield a function that counts their statements."""
    stopped, numbers = Event(), count(1)
    done: list[int] = []
    with database.autocommit() as connection:
        promo_ids = _promo_ids(connection)
        user_ids = list(connection.scalars(text("SELECT id FROM users WHERE email IS NOT NULL ORDER BY id")))

    def write() -> None:
        while not stopped.is_set():
            number = next(numbers)
            values = {
                "promo": promo_ids[number % len(promo_ids)],
                "user": user_ids[number % len(user_ids)],
                "company": UUID(int=1),
                "new": uuid4(),
            }
            with database.transaction() as connection:
                connection.execute(text(_STATEMENTS[number % 31 % len(_STATEMENTS)]), values)
            done.append(number)

    with ThreadPoolExecutor(_THREADS) as threads:
        writers = [threads.submit(write) for _ in range(_THREADS)]
        try:
            yield lambda: len(done)
        finally:
            stopped.set()
        for writer in writers:
            writer.result(_TIMEOUT_S)


def _mismatches(database: Database) -> list[int]:
    with database.autocommit() as connection:
        return [count_mismatched_activity(connection), count_mismatched_redemption_activity(connection)]


def _value(database: Database, query: str) -> Any:
    with database.autocommit() as connection:
        return connection.execute(text(query)).scalar_one()


def test_upgrade_while_old_processes_write(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row is counted once: before, during and after the migration, and when it is undone meanwhile."""
    monkeypatch.setattr(activity_backfills, "_BATCH_ACTIVATIONS", 600)
    sweeper = activity_backfills_sweeper(database)
    with _old_processes(database) as count_statements:
        assert wait_until(lambda: count_statements() > 50, _TIMEOUT_S)
        update_schema(database.engine)
        batches = 0
        while sweeper.sweep():
            batches += 1
            assert _mismatches(database) == [0, 0]
            seen = count_statements()
            assert wait_until(lambda seen=seen: count_statements() > seen + 20, _TIMEOUT_S)
    assert batches > 10
    assert _mismatches(database) == [0, 0]
    with database.autocommit() as connection:
        assert connection.execute(text("SELECT count(*) FROM activity_backfills")).scalar_one() == 0
        for _, uses, comments, *sums in connection.execute(text(_SUMS)):
            confirmed = sums[2]
            assert sums == [uses, comments, confirmed, confirmed]


def test_batches(database: Database) -> None:
    """Activations are counted promo by promo, comments by the country of their author, likes without a time never."""
    update_schema(database.engine)
    assert _value(database, "SELECT count(*) FROM promo_activity") == 0
    sweeper = activity_backfills_sweeper(database)
    steps = [sweeper.sweep() for _ in range(8)]
    assert steps == [8, 1, 500, 500, 500, 180, 1, 40]
    assert [sweeper.sweep() for _ in range(2)] == [1, 0]
    assert _mismatches(database) == [0, 0]
    assert _value(database, "SELECT sum(likes) FROM promo_activity") == 0
    assert _value(database, "SELECT sum(comments) FROM promo_activity WHERE country_key = ''") == 10 * _PROMOS
    assert _value(database, "SELECT sum(activations) FROM promo_activity WHERE country_key = 'us'") == 21 * _PROMOS


def test_one_process_at_a_time(database: Database) -> None:
    """A second process takes another table, or nothing, and a batch that failed is repeated."""
    update_schema(database.engine)
    with database.transaction() as first, database.transaction() as second, database.transaction() as third:
        backfills = [activity_backfills.claim_backfill(each) for each in (first, second, third)]
        assert [each and each.source for each in backfills] == ["activations", "comments", "redemptions"]
        with database.transaction() as fourth:
            assert activity_backfills.claim_backfill(fourth) is None
        assert backfills[0] is not None
        assert activity_backfills.count_earlier_activity(first, backfills[0]) == _PROMOS
        first.rollback()
    sweeper = activity_backfills_sweeper(database)
    while sweeper.sweep():
        pass
    assert _mismatches(database) == [0, 0]


def test_downgrade_and_upgrade_again(database: Database) -> None:
    """After a downgrade, a second upgrade counts all activity again, except likes."""
    update_schema(database.engine)
    with database.autocommit() as connection:
        for statement in _STATEMENTS * 3:
            promo_id = _promo_ids(connection)[0]
            user_id = connection.scalars(text("SELECT id FROM users WHERE email = 'u2'")).one()
            values = {"promo": promo_id, "user": user_id, "company": UUID(int=1), "new": uuid4()}
            connection.execute(text(statement), values)
    with database.engine.begin() as connection:
        config = migrations._config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0020")
    update_schema(database.engine)
    sweeper = activity_backfills_sweeper(database)
    while sweeper.sweep():
        pass
    assert _mismatches(database) == [0, 0]


def test_new_database(open_database: Open, empty: Settings) -> None:
    """Without earlier rows there is nothing left to count."""
    database = open_database(empty)
    update_schema(database.engine)
    assert activity_backfills_sweeper(database).sweep() == 0
