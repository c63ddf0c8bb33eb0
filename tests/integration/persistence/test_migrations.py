"""Migrations: they create the schema of the model, once, also when applied repeatedly or concurrently."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from pathlib import Path
from threading import Barrier
from uuid import UUID

import orjson
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from persistence import migrations
from persistence.activations import CountryUse, list_country_uses
from persistence.database.engine import Database
from persistence.database.revisions import find_revision, newest_revision
from persistence.feeds.feed_counts import count_feed, count_mismatched_feed_counts
from persistence.feeds.feed_index import count_mismatched_feed_entries
from persistence.feeds.feed_status import update_feed_status
from persistence.migrations import update_schema
from persistence.promos.code_lists import CodeLists
from persistence.promos.promos import insert_promo, list_promos
from persistence.schema.audit_tables import account_events
from promo_api import stored_counts
from promo_api.config.settings import Settings
from promo_api.dev.processes import wait_until
from promo_api.folding import fold
from promo_api.sweeper import category_keys_sweeper, search_words_sweeper
from tests.integration.persistence import feeds

Open = Callable[..., Database]
metadata = account_events.metadata
_ROWS_OF_0002 = Path(__file__).with_name("rows_of_0002.sql")


def _tables(database: Database) -> set[str]:
    return set(inspect(database.engine).get_table_names())


def _migrate(database: Database, revision: str, *, down: bool = False) -> None:
    with database.engine.begin() as connection:
        config = migrations._config()
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, revision)


def _definitions(connection: Connection) -> set[str]:
    """Return the definitions of all constraints, indexes and storage options, except those of Alembic's table."""
    query = text(
        "SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace AND contype <> 'n'"
        " UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'"
        " UNION ALL SELECT relname || ' ' || reloptions::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    )
    return {row for row in connection.scalars(query) if row and "alembic_version" not in row}


def _is_compared(_object: object, name: str | None, *_: object) -> bool:
    """Skip indexes with expressions that Alembic cannot compare. test_names_and_definitions_agree compares them."""
    return name not in ("feed_entries_dated", "promo_codes_value", "promo_codes_hash", "promos_code_hash")


def test_model_and_schema_agree(open_database: Open, empty: Settings) -> None:
    """The migrations create exactly the tables, columns, indexes and constraints of the model."""
    database = open_database(empty)
    update_schema(database.engine)
    with database.engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True, "include_object": _is_compared}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []


def test_names_and_definitions_agree(open_database: Open, empty: Settings) -> None:
    """Constraints and indexes have the same names and definitions in the migrations and in the model."""
    database = open_database(empty)
    update_schema(database.engine)
    with database.engine.begin() as connection:
        migrated = _definitions(connection)
        metadata.drop_all(connection)
        metadata.create_all(connection)
        assert migrated == _definitions(connection)


def test_upgrade_twice(open_database: Open, empty: Settings) -> None:
    """Applied migrations are not applied again."""
    database = open_database(empty)
    for _ in range(2):
        update_schema(database.engine)
        with database.autocommit() as connection:
            assert find_revision(connection) == newest_revision()


def test_concurrent_upgrades(open_database: Open, empty: Settings) -> None:
    """If several processes upgrade at once, one applies the migrations, the others wait, and all succeed."""
    databases = [open_database(empty, postgres_lock_timeout_s=0.1) for _ in range(4)]
    barrier = Barrier(len(databases))

    def upgrade(database: Database) -> None:
        barrier.wait(30)
        update_schema(database.engine)

    with ThreadPoolExecutor(len(databases)) as threads:
        list(threads.map(upgrade, databases, timeout=60))
    assert _tables(databases[0]) == {*metadata.tables, "alembic_version"}


def test_downgrade_and_upgrade(open_database: Open, empty: Settings) -> None:
    """A downgrade removes all tables, and an upgrade creates them again."""
    database = open_database(empty)
    update_schema(database.engine)
    _migrate(database, "base", down=True)
    assert _tables(database) == {"alembic_version"}
    update_schema(database.engine)
    assert _tables(database) == {*metadata.tables, "alembic_version"}


def test_counts_of_existing_rows(open_database: Open, empty: Settings) -> None:
    """Revision 0003 counts the activations and promos that already exist."""
    database = open_database(empty)
    _migrate(database, "0002")
    with database.engine.begin() as connection:
        rows = _ROWS_OF_0002.read_text(encoding="utf-8")
        connection.exec_driver_sql(rows, execution_options={"no_parameters": True})
    update_schema(database.engine)
    with database.autocommit() as connection:
        assert [recount(connection) for recount in stored_counts.COUNTS.values() if recount(connection)] == []
        assert list_country_uses(connection, UUID(int=1)) == [CountryUse("fr", 2), CountryUse("ru", 1)]
        listed = partial(list_promos, connection, UUID(int=1), date(2025, 1, 1), sort_by=None, limit=10, offset=0)
        promos, total, _ = listed(countries=None)
        assert [promo.mode for promo in promos] == ["UNIQUE", "COMMON", "COMMON"]
        lists = CodeLists(0).find_lists(connection, [promos[0].id])
        assert orjson.loads(lists[promos[0].id]) == ["b", "a", 'é"', "b"]
        assert (total, listed(countries=["fr"]).total) == (3, 2)
    _migrate(database, "0002", down=True)


_PROMOS = """
    INSERT INTO companies (id, name, email, email_key, password_hash)
    VALUES (gen_random_uuid(), 'Company', 'a@b.example', 'a@b.example', 'hash');
    INSERT INTO promos (
        id, company_id, mode, description, country_key, age_from, age_until, category_keys, active_from, active_until,
        promo_common
    )
    SELECT gen_random_uuid(), companies.id, 'COMMON', 'A promo', (ARRAY['ru', 'us', NULL])[1 + n % 3],
        nullif(n % 7, 0), nullif(10 + n % 11 * 9, 10), (ARRAY['a', 'a', 'b'])[1 : n % 4],
        date '2026-01-01' + nullif(n % 50, 0), date '9999-12-31' - nullif(n % 60, 0), 'value'
    FROM generate_series(1, 500) n, companies;
    INSERT INTO promo_counters (promo_id, use_limit, used_count) SELECT id, 1, age_from % 2 FROM promos
    WHERE age_from IS NOT NULL;
    INSERT INTO promo_counters (promo_id, use_limit) SELECT id, 0 FROM promos WHERE age_from IS NULL
"""


_LATE = date(9999, 12, 30)  # most periods have ended


def test_existing_promos_are_listed(open_database: Open, empty: Settings) -> None:
    """Promos created before the feed tables exist are listed and counted in feeds."""
    database = open_database(empty)
    _migrate(database, "0002")
    with database.engine.begin() as connection:
        connection.exec_driver_sql(_PROMOS, execution_options={"no_parameters": True})
    update_schema(database.engine)
    with database.autocommit() as connection:
        assert (count_mismatched_feed_counts(connection), count_mismatched_feed_entries(connection)) == (0, 0)
        listed = "SELECT count(*) FROM feed_entries WHERE category_key = ''"
        assert connection.exec_driver_sql(listed).scalar_one() == 500
    with database.transaction() as connection:
        assert update_feed_status(connection, _LATE, limit=10_000) > 400
        assert connection.exec_driver_sql("SELECT count(DISTINCT standing) FROM feed_entries").scalar_one() == 3
        assert count_mismatched_feed_entries(connection) == 0
        assert update_feed_status(connection, _LATE, limit=10_000) == 0


_DELETED = """
    INSERT INTO companies (id, name, email, email_key, password_hash) VALUES ({one}, 'Company', 'a', 'a', 'hash');
    INSERT INTO users (id, created_at) VALUES ({one}, NULL);
    INSERT INTO promos (id, company_id, mode, description, category_keys, promo_common)
    VALUES ({one}, {one}, 'COMMON', 'A promo', '{{}}', 'value');
    INSERT INTO activations (promo_id, user_id, id, country_key) VALUES ({one}, {one}, {one}, 'ru');
    INSERT INTO account_deletions (user_id, placeholder_id) VALUES ({two}, {one})
"""


def test_downgrade_with_deletions(open_database: Open, empty: Settings) -> None:
    """The downgrade to 0008 waits for unfinished deletions, and then counts the activations of deleted users again."""
    database = open_database(empty)
    update_schema(database.engine)
    with database.engine.begin() as connection:
        rows = _DELETED.format(one=f"'{UUID(int=1)}'", two=f"'{UUID(int=2)}'")
        connection.exec_driver_sql(rows, execution_options={"no_parameters": True})
    with pytest.raises(RuntimeError, match="1 account deletions are unfinished"):
        _migrate(database, "0008", down=True)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM account_deletions")
    _migrate(database, "0008", down=True)
    with database.autocommit() as connection:
        assert connection.exec_driver_sql("SELECT * FROM user_uses").all() == [(UUID(int=1), 1)]


def test_keys_of_earlier_versions(open_database: Open, empty: Settings) -> None:
    """After 0011, category keys of earlier versions are computed again. No key of an e-mail address changes."""
    database = open_database(empty)
    update_schema(database.engine)
    values = {"mode": "COMMON", "description": "A promo", "promo_common": "value", "age_from": None, "age_until": None}
    target = {"country": "ru", "categories": ["Cafe\u0301", "tea", "\u0130zmir"]}
    with database.transaction() as connection:
        feeds.insert_accounts(connection)
        for number in range(1, 4):
            values |= {"company_id": UUID(int=1), "active_from": None, "active_until": None, **target}
            insert_promo(connection, UUID(int=number), values, feeds.TODAY, use_limit=number, codes=None)
            feeds.store_earlier_keys(connection, UUID(int=number))
        emails = connection.exec_driver_sql("SELECT email, email_key FROM users").all()
    _migrate(database, "0010", down=True)
    update_schema(database.engine)
    sweeper = category_keys_sweeper(database, lambda: feeds.TODAY)
    assert [sweeper.sweep(), sweeper.sweep()] == [3, 0]
    with database.autocommit() as connection:
        keys = set(map(tuple, connection.exec_driver_sql("SELECT category_keys FROM promos").scalars()))
        assert keys == {("caf\u00e9", "tea", "izmir")}
        assert [recount(connection) for recount in stored_counts.COUNTS.values() if recount(connection)] == []
        viewer = feeds.Viewer(30, "ru")
        assert count_feed(connection, viewer, feeds.TODAY, category="IZMIR", active=None) == 3
        assert emails == [(email, fold(email)) for email, _ in emails]
    _migrate(database, "0010", down=True)


def test_words_of_earlier_versions(open_database: Open, empty: Settings) -> None:
    """After 0017, the sweeper computes the words of existing promos and of the ones that old processes change."""
    database = open_database(empty)
    update_schema(database.engine)
    values = {"mode": "COMMON", "description": "First text", "promo_common": "value", "company_id": UUID(int=1)}
    values |= dict.fromkeys(("country", "age_from", "age_until", "categories", "active_from", "active_until"))
    with database.transaction() as connection:
        feeds.insert_accounts(connection)
        for number in range(1, 4):
            insert_promo(connection, UUID(int=number), values, feeds.TODAY, use_limit=number, codes=None)
    _migrate(database, "0016", down=True)
    update_schema(database.engine)

    def find(search: str) -> list[int]:
        with database.autocommit() as connection:
            page = list_promos(connection, UUID(int=1), feeds.TODAY, search=search, sort_by=None, limit=10)
        return sorted(promo.id.int for promo in page.entries)

    assert find("first") == []
    sweeper = search_words_sweeper(database)
    assert [sweeper.sweep(), sweeper.sweep()] == [3, 0]
    assert find("first val") == [1, 2, 3]
    with database.engine.begin() as connection:
        statement = "UPDATE promos SET description = 'Second text', country = 'ru' WHERE id = :promo"
        connection.execute(text(statement), {"promo": UUID(int=2)})
        connection.exec_driver_sql("UPDATE promos SET paused = true, description = description")
    assert find("second") == []
    assert find("first") == [1, 3]
    assert sweeper.sweep() == 1
    assert (find("first"), find("second"), find("text")) == ([1, 3], [2], [1, 2, 3])


def test_other_encoding(open_database: Open, empty_in_latin1: Settings) -> None:
    """A database that is not in UTF8 is refused: PostgreSQL could not normalize category keys."""
    database = open_database(empty_in_latin1)
    with pytest.raises(RuntimeError, match="has the encoding LATIN1 and needs UTF8"):
        update_schema(database.engine)
    assert _tables(database) == set()


def test_waiting_migration(open_database: Open, empty: Settings) -> None:
    """A migration that waits for a table lets requests pass, also one that already uses the table."""
    database = open_database(empty)
    _migrate(database, "0020")
    with ThreadPoolExecutor(1) as threads, database.transaction() as request:
        request.execute(text("SELECT FROM likes"))
        upgrade = threads.submit(update_schema, database.engine)
        assert wait_until(lambda: _count_lock_waits(database) == 1, 30)
        request.execute(text("SELECT FROM promos"))
        request.commit()
        upgrade.result(30)
    with database.autocommit() as connection:
        assert find_revision(connection) == newest_revision()


def _count_lock_waits(database: Database) -> int:
    query = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database WHERE datname = current_database()"
    with database.autocommit() as connection:
        return int(connection.execute(text(f"{query} AND NOT granted")).scalar_one())


def test_failed_migration_leaves_nothing(open_database: Open, empty: Settings) -> None:
    """A migration that fails halfway changes nothing."""
    database = open_database(empty)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE comments (already integer)")
    with pytest.raises(Exception, match="already exists"):
        update_schema(database.engine)
    assert _tables(database) == {"comments"}
