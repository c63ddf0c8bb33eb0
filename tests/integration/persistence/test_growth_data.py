"""The data of the growth benchmark: consistent, and the same for the same seed."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from typing import Any
from uuid import UUID

import psycopg
import pytest

from persistence.database.engine import Database
from persistence.migrations import update_schema
from promo_api.config.settings import Settings
from tests.bench.data import Size, fill, row_id
from tests.bench.derived import DERIVED
from tests.race.consistency import recounted

_SIZE = Size(promos=2_000, users=1_000, activations=20_000)
_SEED, _TODAY = 7, date(2025, 6, 1)
_TABLES = ("companies", "users", "promos", "promo_counters", "promo_codes", "activations")
_KEYS_AND_INDEXES = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2, 3
"""


def _connect(settings: Settings) -> "closing[psycopg.Connection[Any]]":
    return closing(
        psycopg.connect(
            host=settings.postgres_host,
            port=settings.postgres_port,
            user=settings.postgres_username,
            password=settings.postgres_password or None,
            dbname=settings.postgres_database,
            autocommit=True,
        )
    )


def _migrate(settings: Settings) -> None:
    with closing(Database(settings)) as database:
        update_schema(database.engine)


def _fill(connection: "psycopg.Connection[Any]", seed: int, report: Callable[[str], None] = lambda _line: None) -> None:
    fill(connection, _SIZE, seed=seed, today=_TODAY, report=report)


def _digests(connection: "psycopg.Connection[Any]") -> list[Any]:
    # The creation dates of accounts depend on the clock.
    each = "SELECT md5(string_agg(md5((to_jsonb(t) - {}::text[])::text), '' ORDER BY to_jsonb(t)::text)) FROM {} t"
    return [
        connection.execute(
            each.format("'{created_at}'" if table in ("companies", "users") else "'{}'", table).encode()
        ).fetchone()
        for table in _TABLES
    ]


@pytest.fixture(scope="module")
def full(empty_for_module: Settings) -> Iterator["psycopg.Connection[Any]"]:
    """A connection to a database with this data."""
    _migrate(empty_for_module)
    with _connect(empty_for_module) as connection:
        _fill(connection, _SEED)
        yield connection


def test_particular_rows(full: "psycopg.Connection[Any]") -> None:
    """The measured companies, promos and users, and each table, have the expected number of rows."""

    def rows(table: str, column: str, kind: str, number: int) -> Any:
        statement = f"SELECT count(*) FROM {table} WHERE {column} = %s"  # noqa: S608 names from this test
        return full.execute(statement.encode(), [row_id(kind, number, _SEED)]).fetchall()[0][0]

    assert [rows("promos", "company_id", "company", number) for number in (1, 2)] == [200, 100]
    assert [rows("activations", "promo_id", "promo", number) for number in (1, 2)] == [2_000, 100]
    assert [rows("activations", "user_id", "user", number) for number in (1, 2)] == [20, 10]
    counts = [full.execute(f"SELECT count(*) FROM {table}".encode()).fetchall()[0][0] for table in _TABLES[:4]]  # noqa: S608 names from this test
    assert counts == [22, 1_000, 2_000, 2_000]


def test_counters(full: "psycopg.Connection[Any]", empty_for_module: Settings) -> None:
    """The counters of promos match their rows, no limit is exceeded, and issued codes are recorded."""
    query = "SELECT id FROM promos WHERE mode = 'UNIQUE' UNION SELECT promo_id FROM activations WHERE user_id = %s"
    promos: list[UUID] = [promo for (promo,) in full.execute(query, [row_id("user", 1, _SEED)])]
    assert len(promos) > 50
    with closing(Database(empty_for_module)) as database:
        uses = [recounted(database, str(promo)).uses for promo in promos]
        assert recounted(database, str(row_id("promo", 1, _SEED))).uses == 2_000
    assert sum(uses) > 500
    [(total,)] = full.execute("SELECT sum(used_count) FROM promo_counters").fetchall()
    assert total == _SIZE.activations


def test_variety(full: "psycopg.Connection[Any]") -> None:
    """The share of promos of each mode, country, period, category and remaining uses is as expected."""
    [shares] = full.execute(
        """
        SELECT avg((mode = 'UNIQUE')::int), avg((country IS NULL)::int), avg((used_count = use_limit)::int),
            avg((coalesce(active_from <= %(today)s, true) AND coalesce(active_until >= %(today)s, true))::int),
            avg((category_keys @> '{kind1}')::int), avg((category_keys @> '{kind50}')::int)
        FROM promos JOIN promo_counters ON promo_id = id
        """,
        {"today": _TODAY},
    ).fetchall()
    bounds = [(0.03, 0.07), (0.28, 0.38), (0.03, 0.07), (0.4, 0.7), (0.1, 0.3), (0.005, 0.05)]
    assert [low < share < high for share, (low, high) in zip(shares, bounds, strict=True)] == [True] * 6, shares


def test_visibility_map(full: "psycopg.Connection[Any]") -> None:
    """VACUUM has marked all pages as visible, so index-only scans read no table."""
    hidden = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relallvisible < relpages AND relname = ANY(%s)"
    assert full.execute(hidden, [[*_TABLES, *DERIVED]]).fetchall() == []


def test_same_seed(full: "psycopg.Connection[Any]", empty: Settings) -> None:
    """The same seed gives the same rows. Indexes and keys are created again. Progress is reported."""
    _migrate(empty)
    lines: list[str] = []
    with _connect(empty) as connection:
        before = connection.execute(_KEYS_AND_INDEXES).fetchall()
        _fill(connection, _SEED, lines.append)
        assert connection.execute(_KEYS_AND_INDEXES).fetchall() == before
        assert _digests(connection) == _digests(full)
    assert {"activations: 20,000 of 20,000", "creating activations_history", "vacuum and analyze"} <= {*lines}


def test_other_seed(full: "psycopg.Connection[Any]", empty: Settings) -> None:
    """Another seed gives other rows."""
    _migrate(empty)
    with _connect(empty) as connection:
        _fill(connection, _SEED + 1)
        assert not {*_digests(connection)} & {*_digests(full)}


@pytest.mark.parametrize("changes", [{"promos": 1_500}, {"users": 0}, {"activations": 15_000}])
def test_invalid_sizes(changes: dict[str, int]) -> None:
    """A size that does not divide into whole numbers is refused."""
    with pytest.raises(ValueError, match=f"number of {next(iter(changes))} must be a multiple"):
        Size(**{"promos": 1_000, "users": 1_000, "activations": 10_000} | changes)
