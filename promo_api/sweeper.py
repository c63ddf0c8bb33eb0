"""Sweepers: background jobs that clean up the database in small steps.

| Sweeper | What it does |
|---|---|
| answers | deletes stored responses that have expired |
| changes | merges changes of feeds into the tallies |
| deletions | finishes account deletions |
| standings | updates the standing of feed entries for a new business day |

Correctness does not depend on when they run: an expired response is never returned, a change counts before and after
it is merged, feeds check the period, and a closed account is gone for everyone. Every process runs all of them. They
skip rows that another process has locked, and pause after each step for the time that it took.
"""

from collections.abc import Callable
from datetime import date, datetime

from persistence.account_deletions import claim_account_deletion, delete_account_batch
from persistence.engine import Database
from persistence.idempotency import delete_expired
from persistence.standings import update_standings
from persistence.tallies import update_tallies
from promo_api import metrics
from promo_api.background import BackgroundJob

_ANSWERS, _ANSWERS_EVERY_S = 1000, 60.0
# A change may be one of more than a hundred tallies, and the more of them wait, the more a total costs.
_CHANGES, _CHANGES_EVERY_S = 200, 1.0
_DELETIONS_EVERY_S = 1.0
_STANDINGS, _STANDINGS_EVERY_S = 500, 1.0


class Sweeper(BackgroundJob):
    """A background job whose steps are counted.

    Args:
        name: of the sweeper, in metrics and the log.
        step: does one step, and returns how many rows it changed.
        full: more work is waiting if a step changed this many rows.
        every_s: the pause when no more work is waiting.
    """

    def __init__(self, name: str, step: Callable[[], int], full: int, every_s: float) -> None:
        super().__init__(name, self._has_more, every_s)
        self._step = step
        self._full = full

    def sweep(self) -> int:
        """Do one step and count it; return how many rows it changed."""
        try:
            rows = self._step()
        except Exception:
            metrics.sweep_failed(self._name)
            raise
        metrics.swept(self._name, rows)
        return rows

    def _has_more(self) -> bool:
        return self.sweep() >= self._full


def sweeper_of_answers(database: Database, clock: Callable[[], datetime], every_s: float = _ANSWERS_EVERY_S) -> Sweeper:
    """Return a sweeper that deletes stored responses that have expired by `clock`."""

    def step() -> int:
        with database.autocommit() as connection:
            return delete_expired(connection, clock(), limit=_ANSWERS)

    return Sweeper("answers", step, _ANSWERS, every_s)


def sweeper_of_changes(database: Database, every_s: float = _CHANGES_EVERY_S) -> Sweeper:
    """Return a sweeper that merges changes of feeds into the tallies."""

    def step() -> int:
        with database.autocommit() as connection:
            return update_tallies(connection, limit=_CHANGES)

    return Sweeper("changes", step, _CHANGES, every_s)


def sweeper_of_deletions(database: Database, every_s: float = _DELETIONS_EVERY_S) -> Sweeper:
    """Return a sweeper that finishes account deletions."""

    def step() -> int:
        with database.transaction() as connection:
            deletion = claim_account_deletion(connection)
            return 0 if deletion is None else delete_account_batch(connection, deletion)

    return Sweeper("deletions", step, 1, every_s)


def sweeper_of_standings(database: Database, today: Callable[[], date], every_s: float = _STANDINGS_EVERY_S) -> Sweeper:
    """Return a sweeper that updates the standing of feed entries for the business day that `today` returns."""

    def step() -> int:
        with database.autocommit() as connection:
            return update_standings(connection, today(), limit=_STANDINGS)

    return Sweeper("standings", step, _STANDINGS, every_s)
