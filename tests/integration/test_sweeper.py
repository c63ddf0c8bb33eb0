"""Sweepers: expired rows are deleted, other rows stay, and no request is blocked."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from time import time
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, delete, func, insert, select, update

from persistence.database.engine import Database
from persistence.feeds.feed_counts import count_mismatched_feed_counts
from persistence.feeds.feed_index import count_mismatched_feed_entries
from persistence.idempotency import delete_expired
from persistence.promos.promos import find_promo
from persistence.schema.feed_tables import feed_count_changes, feed_entries
from persistence.schema.tables import promos, stored_responses
from promo_api import sweeper as sweeper_module
from promo_api.config.settings import Settings
from promo_api.dev.processes import wait_until
from promo_api.runtime import Runtime
from promo_api.sweeper import (
    category_keys_sweeper,
    expired_responses_sweeper,
    feed_changes_sweeper,
    feed_status_sweeper,
    search_words_sweeper,
)
from promo_api.telemetry import metrics
from tests.accounts import Account, Api
from tests.integration.persistence.feeds import store_earlier_keys

_NOW = datetime(2001, 1, 10, 9, tzinfo=UTC)
_TIMEOUT_S = 20


@pytest.fixture
def account_id(runtime: Runtime) -> Iterator[UUID]:
    """An account id for stored responses, which are deleted after the test."""
    account_id = uuid4()
    yield account_id
    with runtime.database.autocommit() as connection:
        connection.execute(delete(stored_responses).where(stored_responses.c.account_id == account_id))


def _store(database: Database, account_id: UUID, count: int, expires_at: datetime) -> None:
    response = {"account_id": account_id, "operation": "x.do", "fingerprint": b"", "status": 200, "body": {}}
    rows = [{**response, "key": str(uuid4()), "expires_at": expires_at} for _ in range(count)]
    with database.autocommit() as connection:
        # Not all at once, because several servers need more time than a statement may take.
        for first in range(0, len(rows), 100):
            connection.execute(insert(stored_responses), rows[first : first + 100])


def _count(database: Database, account_id: UUID) -> int:
    count = select(func.count()).select_from(stored_responses).where(stored_responses.c.account_id == account_id)
    with database.autocommit() as connection:
        return int(connection.execute(count).scalar_one())


@pytest.mark.usefixtures("each_form")
def test_expired_responses_are_deleted(runtime: Runtime, account_id: UUID) -> None:
    """A response is deleted from the instant of its expiry on, not before."""
    sweeper = expired_responses_sweeper(runtime.database, lambda: _NOW)
    for expires_at in (_NOW - timedelta(days=1), _NOW, _NOW + timedelta(microseconds=1)):
        _store(runtime.database, account_id, 1, expires_at)
    assert sweeper.sweep() == 2
    assert sweeper.sweep() == 0
    assert _count(runtime.database, account_id) == 1


@pytest.mark.usefixtures("each_form")
def test_batch_size(runtime: Runtime, account_id: UUID) -> None:
    """A statement deletes at most a thousand rows."""
    _store(runtime.database, account_id, 1500, _NOW)
    sweeper = expired_responses_sweeper(runtime.database, lambda: _NOW)
    assert [sweeper.sweep(), sweeper.sweep()] == [1000, 500]


@pytest.mark.usefixtures("each_form")
def test_locked_rows_are_skipped(runtime: Runtime, account_id: UUID) -> None:
    """Rows that another process is deleting are skipped."""
    _store(runtime.database, account_id, 3, _NOW)
    locked = (
        select(stored_responses.c.key).where(stored_responses.c.account_id == account_id).limit(1).with_for_update()
    )
    with runtime.database.transaction() as connection:
        assert len(connection.execute(locked).all()) == 1
        assert expired_responses_sweeper(runtime.database, lambda: _NOW).sweep() == 2


def test_thread(runtime: Runtime, account_id: UUID) -> None:
    """The thread deletes all expired rows, repeats this, and ends when it is stopped."""
    _store(runtime.database, account_id, 2500, _NOW)
    sweeper = expired_responses_sweeper(runtime.database, lambda: _NOW, every_s=0.01)
    sweeper.start()
    try:
        for _ in range(2):
            assert wait_until(lambda: _count(runtime.database, account_id) == 0, _TIMEOUT_S)
            _store(runtime.database, account_id, 1, _NOW)
    finally:
        sweeper.stop()
    assert not sweeper._thread.is_alive()


def test_database_unavailable(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """Without PostgreSQL the sweeper logs the failure and tries again later."""
    unreachable = Database(replace(settings, postgres_port=1))
    sweeper = expired_responses_sweeper(unreachable, lambda: _NOW, every_s=0.01)
    sweeper.start()
    try:
        assert wait_until(lambda: caplog.text.count("job_failed") > 1, _TIMEOUT_S)
    finally:
        sweeper.stop()
        unreachable.close()
    assert "Traceback" not in caplog.text


def test_any_error(runtime: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A sweeper runs again after an unexpected error, and then records its last success."""
    errors = [ValueError()]

    def delete(*arguments: Any, **options: Any) -> int:
        if errors:
            raise errors.pop()
        return delete_expired(*arguments, **options)

    # The timestamp of another sweeper test must not count.
    monkeypatch.setattr(sweeper_module, "delete_expired", delete)
    metrics._last_success["expired_responses"].set(time() - 3600)
    failed = (
        metrics.REGISTRY.get_sample_value("promo_sweeps_total", {"sweeper": "expired_responses", "result": "failed"})
        or 0
    )
    sweeper = expired_responses_sweeper(runtime.database, lambda: _NOW, every_s=0.01)
    sweeper.start()
    try:
        assert wait_until(lambda: time() - _last_success() < 60, _TIMEOUT_S)
    finally:
        sweeper.stop()
    assert "job_failed" in caplog.text
    assert "ValueError" in caplog.text
    labels = {"sweeper": "expired_responses", "result": "failed"}
    assert metrics.REGISTRY.get_sample_value("promo_sweeps_total", labels) == failed + 1


def _last_success() -> float:
    timestamp = metrics.REGISTRY.get_sample_value(
        "promo_job_last_success_timestamp_seconds", {"sweeper": "expired_responses"}
    )
    assert timestamp is not None
    return timestamp


def test_feed_changes(runtime: Runtime) -> None:
    """The sweeper of feed changes merges all changes into the feed counts, later ones too."""
    change = {"promo_count": 0, "usable_count": 0, "category_keys": []}
    pending = select(func.count()).select_from(feed_count_changes)
    sweeper = feed_changes_sweeper(runtime.database, every_s=0.01)
    sweeper.start()
    try:
        with runtime.database.autocommit() as connection:
            for _ in range(2):
                connection.execute(insert(feed_count_changes), [change] * 500)
                assert wait_until(lambda: connection.execute(pending).scalar_one() == 0, _TIMEOUT_S)
    finally:
        sweeper.stop()


def test_feed_standings(api: Api, runtime: Runtime) -> None:
    """The sweeper of feed standings updates the standing of feed entries when their day has come."""
    company, last = api.sign_up_company(), date(2050, 1, 10)

    def is_ending(promo_id: str) -> bool:
        standings = select(feed_entries.c.status).where(feed_entries.c.promo_id == UUID(promo_id))
        with runtime.database.autocommit() as connection:
            return set(connection.scalars(standings)) == {"ending"}

    sweeper = feed_status_sweeper(runtime.database, lambda: last, every_s=0.01)
    sweeper.start()
    try:
        for _ in range(2):
            promo_id = company.create_promo(active_until=last.isoformat())
            assert wait_until(lambda promo_id=promo_id: is_ending(promo_id), _TIMEOUT_S)  # type: ignore[misc]
    finally:
        sweeper.stop()


# Categories whose keys have changed, and texts that find them now.
_CATEGORIES = {"Cafe\u0301": "café", "İzmir": "izmir", "\u0131sparta": "ISPARTA"}


def _create_earlier_promo(runtime: Runtime, company: Account, country: str, **changes: Any) -> str:
    """Create a promo as an earlier version did."""
    target = {"country": country, "categories": ["tea", *_CATEGORIES]}
    promo_id = company.create_promo(target=target, **changes)
    with runtime.database.transaction() as connection:
        store_earlier_keys(connection, UUID(promo_id))
    return promo_id


def _count_found(user: Account, **filters: Any) -> list[tuple[int, int]]:
    """Return the entries and the total of the feed of each category."""
    pages = [user.get("/user/feed", params={"category": category, **filters}) for category in _CATEGORIES.values()]
    return [(len(page.json()), int(page.headers["x-total-count"])) for page in pages]


def _assert_consistent(database: Database) -> None:
    with database.autocommit() as connection:
        assert (count_mismatched_feed_counts(connection), count_mismatched_feed_entries(connection)) == (0, 0)


def test_category_keys(api: Api, runtime: Runtime) -> None:
    """The sweeper of category keys computes those of earlier versions again, once; feeds and counts follow."""
    company, user = api.sign_up_company(), api.sign_up_user(country="aw")
    promo_id = _create_earlier_promo(runtime, company, "aw")
    _create_earlier_promo(runtime, company, "aw", max_count=0)
    before = company.get(f"/business/promo/{promo_id}/changes").json()
    assert _count_found(user) == [(0, 0)] * 3
    sweeper = category_keys_sweeper(runtime.database, runtime.today)
    assert sweeper.sweep() >= 2
    assert _count_found(user) == [(2, 2)] * 3
    assert _count_found(user, active=True) == [(1, 1)] * 3
    assert company.get(f"/business/promo/{promo_id}/changes").json() == before
    _assert_consistent(runtime.database)
    assert sweeper.sweep() == 0


def test_batches_of_category_keys(api: Api, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of the sweeper handles a limited number of promos, and the next step continues after them."""
    category_keys_sweeper(runtime.database, runtime.today).sweep()
    monkeypatch.setattr(sweeper_module, "_PROMOS", 2)
    company = api.sign_up_company()
    for _ in range(5):
        _create_earlier_promo(runtime, company, "aw")
    sweeper = category_keys_sweeper(runtime.database, runtime.today)
    assert [sweeper.sweep() for _ in range(4)] == [2, 2, 1, 0]


def test_keys_that_stay(api: Api, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promos whose keys look outdated to PostgreSQL, but are not, are not written, and do not block others."""
    category_keys_sweeper(runtime.database, runtime.today).sweep()
    monkeypatch.setattr(sweeper_module, "_PROMOS", 2)
    company = api.sign_up_company()
    ids = sorted(_create_earlier_promo(runtime, company, "aw") for _ in range(3))
    fold = sweeper_module.fold
    stays = {UUID(promo_id) for promo_id in ids[:2]}
    monkeypatch.setattr(
        sweeper_module,
        "find_category_keys",
        lambda connection, promo_id: (
            [fold(category) for category in ("tea", *_CATEGORIES)]
            if promo_id in stays
            else connection.scalars(select(promos.c.category_keys).where(promos.c.id == promo_id)).one()
        ),
    )
    sweeper = category_keys_sweeper(runtime.database, runtime.today)
    assert [sweeper.sweep() for _ in range(3)] == [0, 1, 0]
    monkeypatch.undo()
    assert category_keys_sweeper(runtime.database, runtime.today).sweep() == 2


def _clear_words(connection: Connection, ids: list[str]) -> None:
    """Clear the search words of promos, as if an earlier version had created them."""
    connection.execute(update(promos).where(promos.c.id.in_(map(UUID, ids))).values(search_words=None))


def _count_without_words(database: Database, ids: list[str]) -> int:
    without = select(func.count()).where(promos.c.id.in_(map(UUID, ids)), promos.c.search_words.is_(None))
    with database.autocommit() as connection:
        return int(connection.execute(without).scalar_one())


def test_batches_of_search_words(api: Api, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of the sweeper of search words handles a limited number of promos, those without words only."""
    monkeypatch.setattr(sweeper_module, "_WORDS", 2)
    sweeper = search_words_sweeper(runtime.database)
    while sweeper.sweep():
        pass
    company = api.sign_up_company()
    ids = [company.create_promo() for _ in range(6)]
    with runtime.database.transaction() as connection:
        _clear_words(connection, ids[:5])
    assert [sweeper.sweep() for _ in range(4)] == [2, 2, 1, 0]
    found = company.get("/business/promo?q=half+price+coffee").json()
    assert [promo["promo_id"] for promo in found] == ids[::-1]


def test_locked_promos_without_words(api: Api, runtime: Runtime) -> None:
    """The sweeper of search words skips promos that a request is changing."""
    company, sweeper = api.sign_up_company(), search_words_sweeper(runtime.database)
    while sweeper.sweep():
        pass
    ids = [company.create_promo() for _ in range(3)]
    with runtime.database.transaction() as connection:
        _clear_words(connection, ids)
    with runtime.database.transaction() as connection:
        assert find_promo(connection, UUID(ids[1]), runtime.today(), locked=True) is not None
        assert sweeper.sweep() == 2
    assert _count_without_words(runtime.database, ids) == 1
    assert sweeper.sweep() == 1
    assert _count_without_words(runtime.database, ids) == 0
