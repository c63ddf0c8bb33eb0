"""Sweepers: background jobs that clean up the database in small steps.

| Sweeper | What it does |
|---|---|
| expired_responses | deletes stored responses that have expired |
| feed_changes | merges changes into the feed counts |
| account_deletions | finishes account deletions |
| feed_standings | updates the standing of feed entries for a new business day |

Correctness does not depend on when they run: an expired response is never returned, a change counts before and after
it is merged, feeds check the period, and a closed account cannot be used. Each worker runs all of them. They skip rows
that another worker has locked, and pause after each step for as long as the step took.
"""

from collections.abc import Callable
from datetime import date, datetime

from persistence.accounts.deletion import claim_account_deletion, delete_account_batch
from persistence.database.engine import Database
from persistence.feeds.feed_counts import update_feed_counts
from persistence.feeds.standings import update_standings
from persistence.idempotency import delete_expired
from promo_api.background import BackgroundJob
from promo_api.telemetry import metrics

_RESPONSES, _RESPONSES_EVERY_S = 1000, 60.0
# Each change affects up to a hundred counts, and unmerged changes make totals slower.
_CHANGES, _CHANGES_EVERY_S = 200, 1.0
_DELETIONS_EVERY_S = 1.0
_STANDINGS, _STANDINGS_EVERY_S = 500, 1.0


class Sweeper(BackgroundJob):
    """A background job that counts its steps in metrics.

    Args:
        name: its name in metrics and the log.
        step: does one step and returns the number of changed rows.
        full: the number of changed rows that means that more work is waiting.
        every_s: pause in seconds when no work is waiting.
    """

    def __init__(self, name: str, step: Callable[[], int], full: int, every_s: float) -> None:
        super().__init__(name, self._has_more, every_s)
        self._step = step
        self._full = full

    def sweep(self) -> int:
        """Do one step and count it; return the number of changed rows."""
        try:
            rows = self._step()
        except Exception:
            metrics.sweep_failed(self._name)
            raise
        metrics.sweep_succeeded(self._name, rows)
        return rows

    def _has_more(self) -> bool:
        return self.sweep() >= self._full


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


def account_deletions_sweeper(database: Database, every_s: float = _DELETIONS_EVERY_S) -> Sweeper:
    """Return the sweeper that finishes account deletions."""

    def step() -> int:
        with database.transaction() as connection:
            deletion = claim_account_deletion(connection)
            return 0 if deletion is None else delete_account_batch(connection, deletion)

    return Sweeper("account_deletions", step, 1, every_s)


def feed_standings_sweeper(
    database: Database, today: Callable[[], date], every_s: float = _STANDINGS_EVERY_S
) -> Sweeper:
    """Return the sweeper that updates the standing of feed entries; `today` returns the business day."""

    def step() -> int:
        with database.autocommit() as connection:
            return update_standings(connection, today(), limit=_STANDINGS)

    return Sweeper("feed_standings", step, _STANDINGS, every_s)
