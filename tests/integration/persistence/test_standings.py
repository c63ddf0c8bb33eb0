"""The standing of feed entries: it bounds what a feed of active promos reads, and is exact about uses."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import Connection, text

from persistence.activations import Claim, claim_values
from persistence.database.engine import Database
from persistence.feeds.feed_index import count_mismatched_feed_entries, delete_feed_entries, insert_feed_entries
from persistence.feeds.feed_status import update_feed_status
from persistence.feeds.user_promos import list_feed_promos
from persistence.migrations import update_schema
from persistence.promos.promos import insert_promo, update_counters
from promo_api.config.settings import Settings
from tests.integration.persistence import feeds
from tests.integration.persistence.feeds import TODAY, Viewer
from tests.pgbouncer import limited
from tests.statements import sent_statements

_ACTIVE, _UNUSABLE = 300, 20_000
_PAGE, _OFFSET = 10, 20
_DAY = timedelta(1)
_VIEWER = Viewer(30, "ru")
_COMPANY = UUID(int=1)
_COLUMNS = {"company_id": _COMPANY, "mode": "COMMON", "description": "A promo", "promo_common": "value"}
_TARGET = {"country": None, "age_from": None, "age_until": None, "categories": ["tea"]}
# The oldest are active and for all countries. All others are newer, and half of them for the country of the viewer.
_PROMOS = """
    INSERT INTO promos (
        id, company_id, mode, description, country_key, category_keys, active_from, active_until, promo_common,
        created_at
    )
    SELECT gen_random_uuid(), %(company)s, 'COMMON', 'A promo', CASE WHEN n %% 2 = 1 THEN 'ru' END, '{}',
        %(active_from)s::date, %(active_until)s::date, 'value', now() + %(first)s * interval '1 s' + n * interval '1 ms'
    FROM generate_series(1, %(number)s) AS n
"""
_COUNTERS = """
    INSERT INTO promo_counters (promo_id, use_limit)
    SELECT id, %(use_limit)s FROM promos WHERE created_at > now() + %(first)s * interval '1 s'
"""
_ENTRIES = """
    INSERT INTO feed_entries (
        category_key, country_key, created_at, promo_id, active_from, active_until, standing
    )
    SELECT '', coalesce(country_key, ''), created_at, id, active_from, active_until, %(standing)s
    FROM promos WHERE created_at > now() + %(first)s * interval '1 s'
"""
_KINDS: dict[str, dict[str, Any]] = {
    "no uses": {"standing": "exhausted", "use_limit": 0},
    "ended": {"standing": "ending", "active_until": TODAY - _DAY},
    "not begun": {"standing": "scheduled", "active_from": TODAY + _DAY},
    "begins today": {"standing": "scheduled", "active_from": TODAY},
    "ends today": {"standing": "ending", "active_until": TODAY},
}


@pytest.fixture
def database(empty: Settings) -> Iterator[Database]:
    """A database with a company, a user and no promo."""
    with closing(Database(limited(replace(empty, postgres_statement_timeout_s=300.0)))) as database:
        update_schema(database.engine)
        with database.transaction() as connection:
            feeds.insert_accounts(connection)
        yield database


def _fill(connection: Connection, number: int, first: int, **changes: Any) -> None:
    values = {"company": _COMPANY, "number": number, "first": first, "active_from": None, "active_until": None}
    values |= {"standing": "live", "use_limit": 1, **changes}
    for statement in (_PROMOS, _COUNTERS, _ENTRIES):
        connection.exec_driver_sql(statement, values)


def _read_entries(connection: Connection, mode: str) -> int:
    """Return how many feed entries a page of active promos reads, in a mode of plan_cache_mode."""
    with sent_statements() as sent:
        promos = list_feed_promos(
            connection, _VIEWER, TODAY, category=None, active=True, total=9999, limit=_PAGE, offset=_OFFSET
        )
    assert len(promos.entries) == _PAGE
    statement, parameters = sent[-1]
    connection.exec_driver_sql(f"SET plan_cache_mode = {mode}")
    placeholders = ", ".join(["%s"] * len(parameters))
    with psycopg.ClientCursor(cast("Any", connection.connection.driver_connection)) as cursor:
        cursor.execute(f"PREPARE explained AS {statement}".encode())
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE explained ({placeholders})".encode(), parameters)
        [(explained,)] = cursor.fetchall()
        cursor.execute("DEALLOCATE explained")
    return sum(_rows_of_entries(explained[0]["Plan"]))


def _rows_of_entries(node: dict[str, Any]) -> Iterator[float]:
    if node.get("Relation Name") == "feed_entries":
        yield (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
    for part in node.get("Plans", ()):
        yield from _rows_of_entries(part)


@pytest.mark.parametrize("kind", _KINDS)
def test_feed_reads_a_page(database: Database, kind: str) -> None:
    """Active promos are found among 20,000 newer ones of any kind by reading a page, before ANALYZE and after it."""
    with database.transaction() as connection:
        _fill(connection, _ACTIVE, 1)
    with database.autocommit() as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
    with database.transaction() as connection:
        _fill(connection, _UNUSABLE, 1000, **_KINDS[kind])
    with database.autocommit() as connection:
        for _ in range(2):
            for mode in ("force_custom_plan", "force_generic_plan"):
                # For each of two countries live entries, and dated ones, and the first and last date.
                assert _read_entries(connection, mode) <= 4 * (_PAGE + _OFFSET) + 2
            connection.exec_driver_sql("VACUUM ANALYZE")


def test_feed_reads_a_page_after_the_last_uses(database: Database) -> None:
    """A feed reads no entries that were live before their last use, though the index is still large."""
    with database.transaction() as connection:
        _fill(connection, _ACTIVE, 1)
        _fill(connection, _UNUSABLE, 1000)
    with database.autocommit() as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
        connection.exec_driver_sql(
            "UPDATE promo_counters SET used_count = 1 FROM promos"
            " WHERE id = promo_id AND created_at > (SELECT min(created_at) + interval '500 s' FROM promos)"
        )
        connection.exec_driver_sql("VACUUM feed_entries")
        for mode in ("force_custom_plan", "force_generic_plan"):
            assert _read_entries(connection, mode) <= 4 * (_PAGE + _OFFSET) + 2
        assert count_mismatched_feed_entries(connection) == 0


def _create(connection: Connection, use_limit: int = 1, **period: date) -> UUID:
    promo_id = uuid4()
    values = {**_COLUMNS, **_TARGET, "image_url": None, "active_from": None, "active_until": None, **period}
    insert_promo(connection, promo_id, values, TODAY, use_limit=use_limit, codes=None)
    return promo_id


def _standing(connection: Connection, promo_id: UUID) -> str | None:
    """Return the standing of the two entries of a promo, which must be the same."""
    query = text("SELECT standing FROM feed_entries WHERE promo_id = :promo")
    first, second = connection.scalars(query, {"promo": promo_id}).all()
    assert first == second
    return cast("str | None", first)


@pytest.mark.parametrize(
    ("use_limit", "first", "last", "standing"),
    [
        (1, None, None, "live"),
        (1, 0, 1, "live"),
        (1, 1, 1, "scheduled"),
        (1, None, 0, "ending"),
        (1, -2, -1, "ending"),
        (0, 1, 1, "exhausted"),
    ],
)
def test_new_promo(database: Database, use_limit: int, first: int | None, last: int | None, standing: str) -> None:
    """A new promo gets the standing of the business day, and a changed one that of its new definition."""
    distances = {"active_from": first, "active_until": last}
    period = {name: TODAY + timedelta(distance) for name, distance in distances.items() if distance is not None}
    with database.transaction() as connection:
        promo_id = _create(connection, use_limit, **period)
        assert _standing(connection, promo_id) == standing
        delete_feed_entries(connection, promo_id)
        update_counters(connection, promo_id, {"use_limit": 1 - use_limit})
        insert_feed_entries(connection, promo_id, TODAY)
        assert _standing(connection, promo_id) == ("scheduled" if standing == "exhausted" else "exhausted")


def test_last_use(database: Database) -> None:
    """The claim that takes the last use, and no other, marks the entries of its promo."""
    claims = [Claim(uuid4(), _VIEWER.id, "ru", 30) for _ in range(2)]
    with database.transaction() as connection:
        # It would do the same, for claims of an earlier version.
        connection.exec_driver_sql("ALTER TABLE promo_counters DISABLE TRIGGER mark_feed_entries_exhausted")
        promo_id, other_id = _create(connection, 2), _create(connection, 1)
        claim_values(connection, promo_id, claims[:1], TODAY)
        assert _standing(connection, promo_id) == "live"
        claim_values(connection, promo_id, claims[1:], TODAY)
        assert (_standing(connection, promo_id), _standing(connection, other_id)) == ("exhausted", "live")


def test_new_day(database: Database) -> None:
    """The update moves each entry to the standing of the day, and none twice."""
    with database.transaction() as connection:
        ends = [_create(connection, active_until=TODAY + day) for day in (_DAY, 2 * _DAY)]
        begins = [_create(connection, active_from=TODAY + day) for day in (_DAY, 2 * _DAY)]
        exhausted = _create(connection, 0, active_until=TODAY + _DAY)
        assert update_feed_status(connection, TODAY, limit=100) == 0
        assert update_feed_status(connection, TODAY + _DAY, limit=100) == 4
        assert update_feed_status(connection, TODAY + _DAY, limit=100) == 0
        standings = [_standing(connection, promo_id) for promo_id in (*ends, *begins, exhausted)]
        assert standings == ["ending", "live", "live", "scheduled", "exhausted"]


def test_few_at_a_time(database: Database) -> None:
    """A statement updates the given number of entries at most, of all kinds together, and skips locked ones."""
    with database.transaction() as connection:
        for period in ({"active_from": TODAY + _DAY}, {"active_until": TODAY + _DAY}):
            for _ in range(4):
                promo_id = _create(connection, **period)

    def update(limit: int) -> int:
        with database.transaction() as connection:
            return update_feed_status(connection, TODAY + _DAY, limit=limit)

    updated = [update(4), update(4)]
    with database.transaction() as holder:
        lock = "SELECT FROM feed_entries WHERE promo_id = %(promo)s FOR UPDATE"
        assert len(holder.exec_driver_sql(lock, {"promo": promo_id}).all()) == 2
        updated += [update(100), update(100)]
    assert [*updated, update(100)] == [4, 4, 6, 0, 2]


@pytest.mark.parametrize(
    ("standing", "period"),
    [("live", {}), ("exhausted", {"active_from": TODAY}), ("scheduled", {}), ("ending", {}), ("closed", {})],
)
def test_wrong_standing_is_found(database: Database, standing: str, period: dict[str, date]) -> None:
    """`check` counts a standing that hides an active promo, or that shows an exhausted promo."""
    with database.autocommit() as connection:
        _create(connection, 0 if standing == "live" else 1, **period)
        assert count_mismatched_feed_entries(connection) == 0
        connection.execute(text("UPDATE feed_entries SET standing = :standing"), {"standing": standing})
        assert count_mismatched_feed_entries(connection) == 2
