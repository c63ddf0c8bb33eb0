"""Sweepers: background jobs that clean up the database in small steps.

Correctness does not depend on when they run. Each worker runs all of them; they skip locked rows, except for
category_keys, which waits for them.
"""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from uuid import UUID

from persistence.account_writes import delete_old_writes
from persistence.accounts.deletion import (
    claim_account_deletion,
    close_account_deletion,
    delete_account_portion,
    update_deletion,
)
from persistence.accounts.events import insert_earlier_events
from persistence.activity_backfills import claim_backfill, count_backfills, count_earlier_activity
from persistence.database.engine import Database
from persistence.database.timeouts import unlimited_transaction
from persistence.feeds.feed_counts import update_feed_counts
from persistence.feeds.feed_index import delete_feed_entries, insert_feed_entries, list_outdated_promos
from persistence.feeds.feed_status import update_feed_status
from persistence.idempotency import delete_expired
from persistence.jobs import delete_job, delete_leftover_pieces, list_abandoned_jobs, list_old_jobs
from persistence.promos.promo_words import (
    claim_promo_without_words,
    list_promos_without_words,
    update_search_words,
)
from persistence.promos.promos import find_category_keys, find_promo, update_promo
from persistence.search import search_words
from promo_api.background import BackgroundJob
from promo_api.config.settings import Settings
from promo_api.folding import fold
from promo_api.mail.reset_mails import ResetMails
from promo_api.telemetry import metrics

# Rows per step, and the pause when no work is waiting.
_RESPONSES, _RESPONSES_EVERY_S = 1000, 60.0
# Often, because unmerged changes slow totals; few, because each affects up to a hundred counts.
_CHANGES, _CHANGES_EVERY_S = 200, 1.0
# Most passes over a closed account find nothing.
_DELETIONS, _DELETIONS_EVERY_S = 20, 1.0
_EVENTS, _EVENTS_EVERY_S = 1000, 60.0
_ENTRIES, _ENTRIES_EVERY_S = 500, 1.0
_PROMOS, _PROMOS_EVERY_S = 100, 60.0
_JOBS, _JOBS_EVERY_S = 100, 60.0
_UPLOAD_MAX, _JOBS_STORED = timedelta(hours=1), timedelta(days=30)
_WORDS, _WORDS_EVERY_S = 100, 60.0
_BACKFILLS_EVERY_S = 60.0
_MAILS_EVERY_S, _EXPIRED_RESETS_EVERY_S = 1.0, 60.0
# A mail server may hang for longer than a stop may take. Another process sends the mail then.
_MAIL_STOP_MAX_S = 2.0
_WRITES, _WRITES_EVERY_S = 1000, 60.0
_FIRST_ID = UUID(int=0)


class Sweeper(BackgroundJob):
    """A background job that counts its steps in metrics. After `full_step` rows, more work is waiting."""

    def __init__(
        self, name: str, step: Callable[[], int], full_step: int, every_s: float, stop_max_s: float | None = None
    ) -> None:
        super().__init__(name, self._has_more, every_s, stop_max_s=stop_max_s)
        self._step = step
        self._full_step = full_step

    def sweep(self) -> int:
        """Do one step and return the number of changed rows."""
        try:
            rows = self._step()
        except Exception:
            metrics.sweep_failed(self._name)
            raise
        metrics.sweep_succeeded(self._name, rows)
        return rows

    def _has_more(self) -> bool:
        return self.sweep() >= self._full_step


def expired_responses_sweeper(
    database: Database, clock: Callable[[], datetime], every_s: float = _RESPONSES_EVERY_S
) -> Sweeper:
    """Return the sweeper that deletes expired responses."""

    def step() -> int:
        with database.autocommit() as connection:
            return delete_expired(connection, clock(), limit=_RESPONSES)

    return Sweeper("expired_responses", step, _RESPONSES, every_s)


def feed_changes_sweeper(database: Database, every_s: float = _CHANGES_EVERY_S) -> Sweeper:
    """Return the sweeper that merges changes into the feed counts."""

    def step() -> int:
        with database.autocommit() as connection:
            return update_feed_counts(connection, limit=_CHANGES)

    return Sweeper("feed_changes", step, _CHANGES, every_s)


def account_deletions_sweeper(
    database: Database, forget_user: Callable[[UUID], None], every_s: float = _DELETIONS_EVERY_S
) -> Sweeper:
    """Return the sweeper that deletes the rows of closed accounts; `forget_user` deletes those in Redis."""

    def step() -> int:
        for _ in range(_DELETIONS):
            rows = _delete_portion(database, forget_user)
            if rows != 0:
                return rows or 0
        return 0

    return Sweeper("account_deletions", step, 1, every_s)


def earlier_events_sweeper(database: Database, every_s: float = _EVENTS_EVERY_S) -> Sweeper:
    """Return the sweeper that moves events of the version before into the audit log."""

    def step() -> int:
        with database.autocommit() as connection:
            return insert_earlier_events(connection, limit=_EVENTS)

    return Sweeper("earlier_events", step, _EVENTS, every_s)


def feed_status_sweeper(database: Database, today: Callable[[], date], every_s: float = _ENTRIES_EVERY_S) -> Sweeper:
    """Return the sweeper that updates feed entries for a new business day."""

    def step() -> int:
        with database.transaction() as connection:
            return update_feed_status(connection, today(), limit=_ENTRIES)

    return Sweeper("feed_status", step, _ENTRIES, every_s)


def category_keys_sweeper(database: Database, today: Callable[[], date], every_s: float = _PROMOS_EVERY_S) -> Sweeper:
    """Return the sweeper that replaces category keys of earlier versions, also those of processes that still run."""
    after = _FIRST_ID

    def step() -> int:
        nonlocal after
        with database.autocommit() as connection:
            promo_ids = list_outdated_promos(connection, after=after, limit=_PROMOS)
        after = promo_ids[-1] if len(promo_ids) == _PROMOS else _FIRST_ID
        return sum(_update_category_keys(database, promo_id, today()) for promo_id in promo_ids)

    return Sweeper("category_keys", step, _PROMOS, every_s)


def job_files_sweeper(database: Database, clock: Callable[[], datetime], every_s: float = _JOBS_EVERY_S) -> Sweeper:
    """Return the sweeper that deletes abandoned uploads, old jobs and files without a job."""

    def step() -> int:
        with database.autocommit() as connection:
            due = [
                *list_abandoned_jobs(connection, clock() - _UPLOAD_MAX, limit=_JOBS),
                *list_old_jobs(connection, clock() - _JOBS_STORED, limit=_JOBS),
            ]
        for company_id, job_id in due:
            with database.transaction() as connection:
                delete_job(connection, company_id, job_id)
        with database.autocommit() as connection:
            return len(due) + delete_leftover_pieces(connection, limit=_JOBS)

    return Sweeper("job_files", step, _JOBS, every_s)


def search_words_sweeper(database: Database, every_s: float = _WORDS_EVERY_S) -> Sweeper:
    """Return the sweeper that computes the search words of promos that an earlier version created or changed."""

    def step() -> int:
        with database.autocommit() as connection:
            promo_ids = list_promos_without_words(connection, limit=_WORDS)
        return sum(_update_words(database, promo_id) for promo_id in promo_ids)

    return Sweeper("search_words", step, _WORDS, every_s)


def activity_backfills_sweeper(database: Database, every_s: float = _BACKFILLS_EVERY_S) -> Sweeper:
    """Return the sweeper that counts the activity of the time before migration 0021."""

    def step() -> int:
        with database.autocommit() as connection:
            if not count_backfills(connection):
                return 0
        # Outside the pool, without a time limit, because a promo may have millions of activations.
        with database.translated(), unlimited_transaction(database.engine) as connection:
            backfill = claim_backfill(connection)
            return 0 if backfill is None else count_earlier_activity(connection, backfill)

    return Sweeper("activity_backfills", step, 1, every_s)


def reset_mails_sweeper(settings: Settings, database: Database, clock: Callable[[], datetime]) -> Sweeper:
    """Return the sweeper that sends the mails of password resets, and deletes expired resets."""
    every_s = _MAILS_EVERY_S if settings.smtp_url else _EXPIRED_RESETS_EVERY_S
    mails = ResetMails(settings, database, clock)
    return Sweeper("reset_mails", mails.send_next, 1, every_s, stop_max_s=_MAIL_STOP_MAX_S)


def account_writes_sweeper(database: Database, every_s: float = _WRITES_EVERY_S) -> Sweeper:
    """Return the sweeper that deletes positions of writes that all replicas in use have replayed."""

    def step() -> int:
        with database.autocommit() as connection:
            return delete_old_writes(connection, limit=_WRITES)

    return Sweeper("account_writes", step, _WRITES, every_s)


def _delete_portion(database: Database, forget_user: Callable[[UUID], None]) -> int | None:
    """Delete a portion of a closed account, or end its deletion. Return the number of rows; None: nothing is due."""
    with database.autocommit() as connection:
        deletion = claim_account_deletion(connection)
        if deletion is None:
            return None
        rows = delete_account_portion(connection, deletion.user_id)
        if rows or not deletion.is_late:
            update_deletion(connection, deletion.user_id, has_rows=rows > 0)
            return rows
    forget_user(deletion.user_id)
    with database.autocommit() as connection:
        close_account_deletion(connection, deletion.user_id)
    return 1


def _update_words(database: Database, promo_id: UUID) -> int:
    """Compute the search words of a promo, and return 1 unless it has some or is locked."""
    with database.transaction() as connection:
        texts = claim_promo_without_words(connection, promo_id)
        return 0 if texts is None else update_search_words(connection, promo_id, search_words(*texts))


def _update_category_keys(database: Database, promo_id: UUID, today: date) -> int:
    """Compute the category keys of a promo, and return 1 if they have changed."""
    with database.transaction() as connection:
        promo = find_promo(connection, promo_id, today, locked=True)
        if promo is None or find_category_keys(connection, promo_id) == [*map(fold, promo.categories or ())]:
            return 0
        delete_feed_entries(connection, promo_id)
        update_promo(connection, promo_id, {"country": promo.country, "categories": promo.categories})
        insert_feed_entries(connection, promo_id, today)
    return 1
