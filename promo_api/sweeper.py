"""What is done beside requests while the service serves, bit by bit.

Answers that were kept for repeated requests are deleted when they have expired; changes of what feeds hold are moved
into the tallies; the standing of feed entries is updated for a new business day. Nothing depends on when that is done:
an expired answer is never given, a change counts before it is moved as well as after it, and feeds check the period.
Each process sweeps, a few rows in each statement, which passes over what another one is sweeping; after each it rests
for as long as that took. So whatever has accumulated goes within a while, and no request waits for it.
"""

import logging
from collections.abc import Callable
from datetime import date, datetime
from threading import Event, Thread
from time import monotonic
from typing import Any

from persistence.engine import Database
from persistence.kept_answers import delete_expired
from persistence.standings import update_standings
from persistence.tallies import update_tallies
from promo_api import metrics
from promo_api.errors import DependencyDown

_log = logging.getLogger(__name__)

_ANSWERS, _ANSWERS_EVERY_S = 1000, 60.0
# A change may be one of more than a hundred tallies, and the more of them wait, the more a total costs.
_CHANGES, _CHANGES_EVERY_S = 200, 1.0
_STANDINGS, _STANDINGS_EVERY_S = 500, 1.0


class Sweeper:
    """A thread that sweeps until it is stopped.

    Args:
        name: that it is counted by.
        database: where to sweep.
        sweep: sweeps some rows by one statement, and returns how many they were.
        rows: how many these are when more may be left.
        every_s: how long it rests when nothing is left to sweep.
    """

    def __init__(self, name: str, database: Database, sweep: Callable[[Any], int], rows: int, every_s: float) -> None:
        self._name = name
        self._database = database
        self._sweep = sweep
        self._rows = rows
        self._every_s = every_s
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        """Begin to sweep; in the process that is to do it, since a thread does not outlive a fork."""
        self._thread.start()

    def stop(self) -> None:
        """Wait for the statement that runs, and end."""
        self._stopped.set()
        self._thread.join()

    def sweep(self) -> int:
        """Sweep some rows, the oldest first, and return how many they were."""
        with self._database.autocommit() as connection:
            rows = self._sweep(connection)
        metrics.swept(self._name, rows)
        return rows

    def _run(self) -> None:
        rest_s = 0.0
        while not self._stopped.wait(rest_s):
            began = monotonic()
            rest_s = self._every_s
            try:
                if self.sweep() == self._rows:
                    rest_s = monotonic() - began
            except DependencyDown as error:
                metrics.sweep_failed(self._name)
                _log.warning("sweep_failed", extra={"reason": error.reason})


def sweeper_of_answers(database: Database, clock: Callable[[], datetime], every_s: float = _ANSWERS_EVERY_S) -> Sweeper:
    """Return a sweeper that deletes what `clock` says has expired."""
    return Sweeper(
        "answers", database, lambda connection: delete_expired(connection, clock(), limit=_ANSWERS), _ANSWERS, every_s
    )


def sweeper_of_changes(database: Database, every_s: float = _CHANGES_EVERY_S) -> Sweeper:
    """Return a sweeper that moves changes into the tallies."""
    return Sweeper(
        "changes", database, lambda connection: update_tallies(connection, limit=_CHANGES), _CHANGES, every_s
    )


def sweeper_of_standings(database: Database, today: Callable[[], date], every_s: float = _STANDINGS_EVERY_S) -> Sweeper:
    """Return a sweeper that updates the standing of feed entries for the business day that `today` returns."""
    return Sweeper(
        "standings",
        database,
        lambda connection: update_standings(connection, today(), limit=_STANDINGS),
        _STANDINGS,
        every_s,
    )
