"""Totals of feeds: those of the promos one by one, at every moment, whoever folds or dies meanwhile."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import date, timedelta
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
            feeds.insert_people(connection)
        yield database


def _fill(database: Database, random: Random, promos: int) -> None:
    """Make promos, change some and use some, each in a transaction of its own, as requests do."""
    ids = []
    for _ in range(promos):
        with database.transaction() as connection:
            ids.append(feeds.create_promo(connection, random))
        with database.autocommit() as connection:
            feeds.use_promo(connection, random.choice(ids))
        if random.random() < 0.5:
            with database.transaction() as connection:
                feeds.change_promo(connection, random.choice(ids), random)


def _waiting_changes(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(feed_count_changes)).scalar_one())


def _totals(connection: Connection) -> list[int]:
    viewers = [Viewer(age, "ru") for age in (0, 18, 100)]
    cases = product(viewers, (None, "КОФЕ"), (None, True, False))
    return [count_feed(connection, viewer, TODAY, category=c, active=a) for viewer, c, a in cases]


def _check_all(connection: Connection) -> None:
    """Hold the totals of every age, and of some days, categories and countries, against the promos one by one."""
    rows = feeds.list_all(connection)
    ages = [(age, TODAY) for age in range(101)]
    days = [(30, TODAY + timedelta(days)) for days in (-400, -76, -75, -17, -16, -1, 1, 14, 15, 300)]
    for (age, today), country in product(ages + days, ("ru", "us", "zw")):
        viewer = Viewer(age, country)
        for category, active in product((None, "кофе", "strasse", "none"), (None, True, False)):
            due = feeds.fitting(rows, viewer, today, category, active)
            filters = {"category": category, "active": active}
            assert count_feed(connection, viewer, today, **filters) == len(due), (viewer, today, filters)
    assert (count_mismatched_feed_counts(connection), count_mismatched_feed_entries(connection)) == (0, 0)


@pytest.mark.parametrize("seed", [1, 2])
def test_totals_are_exact(database: Database, seed: int) -> None:
    """Whatever is created, changed and used, totals are those of the promos: before, amid and after the folding."""
    random = feeds.seeded(seed)
    _fill(database, random, 150)
    with database.autocommit() as connection:
        assert _waiting_changes(connection) > 200
        before = _totals(connection)
        assert update_feed_counts(connection, limit=100) == 100
        assert _totals(connection) == before
    _fill(database, random, 100)
    with database.autocommit() as connection:
        _check_all(connection)
        before = _totals(connection)
        while update_feed_counts(connection, limit=200):
            assert _totals(connection) == before
        assert _waiting_changes(connection) == 0
        _check_all(connection)


def _check_pages(connection: Connection, active: bool | None, days: Iterable[int]) -> None:
    """Hold the pages of feeds, some days from TODAY, against the promos one by one."""
    rows = feeds.list_all(connection)
    viewers = product((0, 30, 100), ("ru", "zw"), (None, "tea", "КОФЕ"))
    for (age, country, category), distance in product(viewers, days):
        viewer, today = Viewer(age, country), TODAY + timedelta(distance)
        due = feeds.fitting(rows, viewer, today, category, active)
        filters = {"category": category, "active": active, "total": len(due)}
        pages = [
            [card.promo_id for card in list_feed_promos(connection, viewer, today, **filters, limit=7, offset=offset)]
            for offset in range(0, len(due) + 7, 7)
        ]
        assert [promo_id for page in pages for promo_id in page] == due


@pytest.mark.parametrize("active", [None, True, False])
def test_pages_are_those_of_the_promos(database: Database, active: bool | None) -> None:
    """Pages, one after the other, list each promo that fits once, newest first."""
    _fill(database, feeds.seeded(3), 200)
    with database.autocommit() as connection:
        _check_pages(connection, active, (-400, -1, 0, 1, 300))


def test_pages_do_not_depend_on_the_sweeper(database: Database) -> None:
    """Active promos are listed exactly on any day, also if the standing was last updated for another day."""
    random = feeds.seeded(8)
    _fill(database, random, 150)
    with database.autocommit() as connection:
        for distance in (0, 40, -200, 499):
            feeds.update_all_standings(connection, TODAY + timedelta(distance))
            assert count_mismatched_feed_entries(connection) == 0
            _check_pages(connection, active=True, days=(-300, 0, 40, 41))
        _fill(database, random, 50)
        connection.execute(
            text("UPDATE feed_entries SET standing = NULL WHERE promo_id < '80000000-0000-0000-0000-000000000000'")
        )
        _check_pages(connection, active=True, days=(0, 41))
        feeds.update_all_standings(connection, TODAY)
        assert connection.execute(text("SELECT count(*) FROM feed_entries WHERE standing IS NULL")).scalar_one() == 0
        _check_pages(connection, active=True, days=(0, 41))
        _check_all(connection)


def test_two_fold_at_once(database: Database) -> None:
    """What one process is folding another one passes over: it does not wait, and nothing counts twice."""
    _fill(database, feeds.seeded(4), 60)
    with database.autocommit() as connection:
        before, changes = _totals(connection), _waiting_changes(connection)
    with database.autocommit() as other:
        with database.transaction() as connection:
            assert update_feed_counts(connection, limit=changes) == changes
            assert update_feed_counts(other, limit=_ALL) == 0
            assert _totals(other) == before
        assert update_feed_counts(other, limit=_ALL) == 0
        assert _totals(other) == before
        _check_all(other)


def test_killed_while_it_folds(database: Database) -> None:
    """A fold whose process dies before it is committed has not happened, and another one does it."""
    _fill(database, feeds.seeded(5), 40)
    with database.autocommit() as connection:
        before, changes = _totals(connection), _waiting_changes(connection)

        def fold_and_die() -> None:
            with database.transaction() as dying:
                assert update_feed_counts(dying, limit=_ALL) == changes
                pid = dying.execute(text("SELECT pg_backend_pid()")).scalar_one()
                connection.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid})
                dying.execute(text("SELECT 1"))

        with pytest.raises(ServiceUnavailable):
            fold_and_die()
        assert (_totals(connection), _waiting_changes(connection)) == (before, changes)
        assert update_feed_counts(connection, limit=_ALL) == changes
        assert _totals(connection) == before


def test_refused_change_counts_nothing(database: Database) -> None:
    """What a transaction that is rolled back told the tallies has not been told."""
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


def test_wrong_numbers_are_found(database: Database) -> None:
    """A tally, a change or an entry that does not come from a promo is counted as wrong."""
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
        gone = connection.execute(text("DELETE FROM feed_entries WHERE category_key = ''")).rowcount
        assert count_mismatched_feed_entries(connection) == gone == 20
