"""Feed counts: totals and pages are exact at every moment, also while a process merges changes or dies."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import date, timedelta
from functools import partial
from itertools import product
from random import Random

import pytest
from sqlalchemy import Connection, func, insert, select, text

from persistence.database.engine import Database
from persistence.feeds.feed_counts import count_feed, count_mismatched_feed_counts, update_feed_counts
from persistence.feeds.feed_index import count_mismatched_feed_entries
from persistence.feeds.user_promos import list_feed_promos
from persistence.migrations import update_schema
from persistence.schema.feed_tables import feed_count_changes
from promo_api.config.settings import Settings
from promo_api.errors import ServiceUnavailable
from tests.integration.persistence import feeds
from tests.integration.persistence.feeds import TODAY, Viewer

_ALL = 1_000_000
_Check = Callable[[], None]


@pytest.fixture
def database(empty: Settings) -> Iterator[Database]:
    """A database with a company and no promo."""
    with closing(Database(empty)) as database:
        update_schema(database.engine)
        with database.transaction() as connection:
            feeds.insert_accounts(connection)
        yield database


def _fill(database: Database, random: Random, promos: int) -> None:
    """Create, change and use promos, each in its own transaction as requests do."""
    ids = []
    for _ in range(promos):
        with database.transaction() as connection:
            ids.append(feeds.create_promo(connection, random))
        with database.autocommit() as connection:
            feeds.use_promo(connection, random.choice(ids))
        if random.random() < 0.5:
            with database.transaction() as connection:
                feeds.change_promo(connection, random.choice(ids), random)


def _pending_changes(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(feed_count_changes)).scalar_one())


def _totals(connection: Connection) -> list[int]:
    viewers = [Viewer(age, "ru") for age in (0, 18, 100)]
    cases = product(viewers, (None, "КОФЕ"), (None, True, False))
    return [count_feed(connection, viewer, TODAY, category=c, active=a) for viewer, c, a in cases]


def _check_all(connection: Connection) -> None:
    """Assert that the totals of all ages and of some days, categories and countries equal those computed in Python."""
    rows = feeds.list_all(connection)
    ages = [(age, TODAY) for age in range(101)]
    days = [(30, TODAY + timedelta(days)) for days in (-400, -76, -75, -17, -16, -1, 1, 14, 15, 300)]
    for (age, today), country in product(ages + days, ("ru", "us", "zw")):
        viewer = Viewer(age, country)
        for category, active in product((None, "кофе", "strasse", "none"), (None, True, False)):
            expected = feeds.fitting(rows, viewer, today, category, active)
            filters = {"category": category, "active": active}
            assert count_feed(connection, viewer, today, **filters) == len(expected), (viewer, today, filters)
    assert (count_mismatched_feed_counts(connection), count_mismatched_feed_entries(connection)) == (0, 0)


@pytest.mark.parametrize("seed", [1])
def test_totals_are_exact(database: Database, seed: int) -> None:
    """Totals are exact before, during and after pending changes are merged."""
    random = feeds.seeded(seed)
    _fill(database, random, 150)
    with database.autocommit() as connection:
        assert _pending_changes(connection) > 200
        before = _totals(connection)
        assert update_feed_counts(connection, limit=100) == 100
        assert _totals(connection) == before
    _fill(database, random, 100)
    with database.autocommit() as connection:
        _check_all(connection)
        before = _totals(connection)
        while update_feed_counts(connection, limit=200):
            assert _totals(connection) == before
        assert _pending_changes(connection) == 0
        _check_all(connection)


def _check_pages(connection: Connection, active: bool | None, days: Iterable[int]) -> None:
    """Assert that the pages of feeds, some days from TODAY, equal those computed in Python."""
    rows = feeds.list_all(connection)
    viewers = product((0, 30, 100), ("ru", "zw"), (None, "tea", "КОФЕ"))
    for (age, country, category), distance in product(viewers, days):
        viewer, today = Viewer(age, country), TODAY + timedelta(distance)
        expected = feeds.fitting(rows, viewer, today, category, active)
        filters = {"category": category, "active": active, "total": len(expected)}
        read = partial(list_feed_promos, connection, viewer, today, **filters, limit=7)
        offsets = range(0, len(expected) + 7, 7)
        pages = [read(offset=offset) for offset in offsets]
        assert [promo.promo_id for page in pages for promo in page.entries] == expected
        assert [page.next_key is None for page in pages] == [offset + 7 >= len(expected) for offset in offsets]


@pytest.mark.parametrize("active", [None, True, False])
def test_pages_are_exact(database: Database, active: bool | None) -> None:
    """Consecutive pages list each matching promo once, newest first."""
    _fill(database, feeds.seeded(3), 200)
    with database.autocommit() as connection:
        _check_pages(connection, active, (-400, -1, 0, 1, 300))


def test_pages_do_not_depend_on_the_sweeper(database: Database) -> None:
    """Active promos are listed exactly, even if the standings were last updated for another day."""
    random = feeds.seeded(8)
    _fill(database, random, 150)
    with database.autocommit() as connection:
        for distance in (0, 40, -200, 499):
            feeds.update_all_standings(connection, TODAY + timedelta(distance))
            assert count_mismatched_feed_entries(connection) == 0
            _check_pages(connection, active=True, days=(-300, 0, 40, 41))
        _fill(database, random, 50)
        _check_pages(connection, active=True, days=(0, 41))
        feeds.update_all_standings(connection, TODAY)
        _check_pages(connection, active=True, days=(0, 41))
        _check_all(connection)


def test_concurrent_merges(database: Database) -> None:
    """A merge skips the changes that another process is merging, without waiting. Nothing counts twice."""
    _fill(database, feeds.seeded(4), 60)
    with database.autocommit() as connection:
        before, changes = _totals(connection), _pending_changes(connection)
    with database.autocommit() as other:
        with database.transaction() as connection:
            assert update_feed_counts(connection, limit=changes) == changes
            assert update_feed_counts(other, limit=_ALL) == 0
            assert _totals(other) == before
        assert update_feed_counts(other, limit=_ALL) == 0
        assert _totals(other) == before
        _check_all(other)


def test_killed_during_a_merge(database: Database) -> None:
    """If a process dies before it commits a merge, nothing changes, and another process can merge."""
    _fill(database, feeds.seeded(5), 40)
    with database.autocommit() as connection:
        before, changes = _totals(connection), _pending_changes(connection)

        def merge_and_die() -> None:
            with database.transaction() as dying:
                assert update_feed_counts(dying, limit=_ALL) == changes
                pid = dying.execute(text("SELECT pg_backend_pid()")).scalar_one()
                connection.execute(text("SELECT pg_terminate_backend(CAST(:pid AS integer), 10000)"), {"pid": pid})
                dying.execute(text("SELECT 1"))

        with pytest.raises(ServiceUnavailable):
            merge_and_die()
        assert (_totals(connection), _pending_changes(connection)) == (before, changes)
        assert update_feed_counts(connection, limit=_ALL) == changes
        assert _totals(connection) == before


def test_rolled_back_change(database: Database) -> None:
    """A change that is rolled back does not affect the totals."""
    random = feeds.seeded(6)
    _fill(database, random, 20)
    with database.autocommit() as connection:
        before = _totals(connection)
        promo_id = feeds.list_all(connection)[0].id
    with database.engine.connect() as connection:
        feeds.change_promo(connection, promo_id, random)
        connection.rollback()
    with database.autocommit() as connection:
        assert _totals(connection) == before
        _check_all(connection)


def test_mismatches_are_found(database: Database) -> None:
    """A count, a pending change or an entry that does not match the promos is found."""
    _fill(database, feeds.seeded(7), 20)
    with database.autocommit() as connection:
        update_feed_counts(connection, limit=_ALL)
        connection.execute(
            text("UPDATE feed_tallies SET promo_count = promo_count + 1 WHERE span = 'ever' AND age = 0")
        )
        assert count_mismatched_feed_counts(connection) > 0
        connection.execute(
            text("UPDATE feed_tallies SET promo_count = promo_count - 1 WHERE span = 'ever' AND age = 0")
        )
        assert count_mismatched_feed_counts(connection) == 0
        change = {"promo_count": 1, "usable_count": 0, "category_keys": ["tea"], "active_from": date(2026, 1, 1)}
        connection.execute(insert(feed_count_changes), change)
        assert count_mismatched_feed_counts(connection) == 2
        assert count_mismatched_feed_entries(connection) == 0
        deleted = connection.execute(text("DELETE FROM feed_entries WHERE category_key = ''")).rowcount
        assert count_mismatched_feed_entries(connection) == deleted == 20
