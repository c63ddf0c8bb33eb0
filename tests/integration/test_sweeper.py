"""The sweep: what has expired goes, all else stays, and nobody waits for it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from time import time
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, func, insert, select

from persistence.database.engine import Database
from persistence.idempotency import delete_expired
from persistence.schema.feed_tables import feed_count_changes, feed_entries
from persistence.schema.tables import stored_responses
from promo_api import sweeper as sweeper_module
from promo_api.config.settings import Settings
from promo_api.dev.processes import wait_until
from promo_api.runtime import Runtime
from promo_api.sweeper import expired_responses_sweeper, feed_changes_sweeper, feed_status_sweeper
from promo_api.telemetry import metrics
from tests.accounts import Api

_NOW = datetime(2001, 1, 10, 9, tzinfo=UTC)
_PATIENCE_S = 20


@pytest.fixture
def account_id(runtime: Runtime) -> Iterator[UUID]:
    """An account whose answers are those of this test, and go with it."""
    account_id = uuid4()
    yield account_id
    with runtime.database.autocommit() as connection:
        connection.execute(delete(stored_responses).where(stored_responses.c.account_id == account_id))


def _keep(database: Database, account_id: UUID, count: int, expires_at: datetime) -> None:
    answer = {"account_id": account_id, "operation": "x.do", "fingerprint": b"", "status": 200, "body": {}}
    rows = [{**answer, "key": str(uuid4()), "expires_at": expires_at} for _ in range(count)]
    with database.autocommit() as connection:
        connection.execute(insert(stored_responses), rows)


def _count(database: Database, account_id: UUID) -> int:
    there = select(func.count()).select_from(stored_responses).where(stored_responses.c.account_id == account_id)
    with database.autocommit() as connection:
        return int(connection.execute(there).scalar_one())


def test_what_has_expired_goes(runtime: Runtime, account_id: UUID) -> None:
    """An answer goes from the instant on at which it expires, and not before."""
    sweeper = expired_responses_sweeper(runtime.database, lambda: _NOW)
    for expires_at in (_NOW - timedelta(days=1), _NOW, _NOW + timedelta(microseconds=1)):
        _keep(runtime.database, account_id, 1, expires_at)
    assert sweeper.sweep() == 2
    assert sweeper.sweep() == 0
    assert _count(runtime.database, account_id) == 1


def test_few_at_a_time(runtime: Runtime, account_id: UUID) -> None:
    """A statement deletes no more than a thousand rows, however many have expired."""
    _keep(runtime.database, account_id, 1500, _NOW)
    sweeper = expired_responses_sweeper(runtime.database, lambda: _NOW)
    assert [sweeper.sweep(), sweeper.sweep()] == [1000, 500]


def test_nobody_waits(runtime: Runtime, account_id: UUID) -> None:
    """What another process is deleting is passed over."""
    _keep(runtime.database, account_id, 3, _NOW)
    held = select(stored_responses.c.key).where(stored_responses.c.account_id == account_id).limit(1).with_for_update()
    with runtime.database.transaction() as connection:
        assert len(connection.execute(held).all()) == 1
        assert expired_responses_sweeper(runtime.database, lambda: _NOW).sweep() == 2


def test_thread(runtime: Runtime, account_id: UUID) -> None:
    """The thread sweeps all that has accumulated, sweeps again later on, and ends when it is stopped."""
    _keep(runtime.database, account_id, 2500, _NOW)
    sweeper = expired_responses_sweeper(runtime.database, lambda: _NOW, every_s=0.01)
    sweeper.start()
    try:
        for _ in range(2):
            assert wait_until(lambda: _count(runtime.database, account_id) == 0, _PATIENCE_S)
            _keep(runtime.database, account_id, 1, _NOW)
    finally:
        sweeper.stop()
    assert not sweeper._thread.is_alive()


def test_database_away(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """Without PostgreSQL the sweep says so, and goes on when its time comes again."""
    nowhere = Database(replace(settings, postgres_port=1))
    sweeper = expired_responses_sweeper(nowhere, lambda: _NOW, every_s=0.01)
    sweeper.start()
    try:
        assert wait_until(lambda: caplog.text.count("job_failed") > 1, _PATIENCE_S)
    finally:
        sweeper.stop()
        nowhere.close()
    assert "Traceback" not in caplog.text


def test_any_error(runtime: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A sweeper runs again after an error that no code foresees, and then shows when it last succeeded."""
    errors = [ValueError()]

    def delete(*arguments: Any, **options: Any) -> int:
        if errors:
            raise errors.pop()
        return delete_expired(*arguments, **options)

    # Another sweeper of these tests may have succeeded: an hour ago, then.
    monkeypatch.setattr(sweeper_module, "delete_expired", delete)
    metrics._last_success["expired_responses"].set(time() - 3600)
    failed = (
        metrics.REGISTRY.get_sample_value("promo_sweeps_total", {"sweeper": "expired_responses", "result": "failed"})
        or 0
    )
    sweeper = expired_responses_sweeper(runtime.database, lambda: _NOW, every_s=0.01)
    sweeper.start()
    try:
        assert wait_until(lambda: time() - _last_success() < 60, _PATIENCE_S)
    finally:
        sweeper.stop()
    assert "job_failed" in caplog.text
    assert "ValueError" in caplog.text
    labels = {"sweeper": "expired_responses", "result": "failed"}
    assert metrics.REGISTRY.get_sample_value("promo_sweeps_total", labels) == failed + 1


def _last_success() -> float:
    found = metrics.REGISTRY.get_sample_value(
        "promo_job_last_success_timestamp_seconds", {"sweeper": "expired_responses"}
    )
    assert found is not None
    return found


def test_changes_of_feeds(runtime: Runtime) -> None:
    """The other sweeper moves all changes into the tallies, and those that come later too."""
    change = {"promo_count": 0, "usable_count": 0, "category_keys": []}
    waiting = select(func.count()).select_from(feed_count_changes)
    sweeper = feed_changes_sweeper(runtime.database, every_s=0.01)
    sweeper.start()
    try:
        with runtime.database.autocommit() as connection:
            for _ in range(2):
                connection.execute(insert(feed_count_changes), [change] * 500)
                assert wait_until(lambda: connection.execute(waiting).scalar_one() == 0, _PATIENCE_S)
    finally:
        sweeper.stop()


def test_standings_of_feeds(api: Api, runtime: Runtime) -> None:
    """The third sweeper updates the standing of feed entries when their day has come."""
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
            assert wait_until(lambda promo_id=promo_id: is_ending(promo_id), _PATIENCE_S)  # type: ignore[misc]
    finally:
        sweeper.stop()
