"""Deletes answers that were kept for repeated requests and have expired, while the service serves.

Nothing depends on when it does so: an expired answer is never given. Each process sweeps, a few rows in each statement,
which passes over what another one is deleting; after each it rests for as long as that took. So whatever has
accumulated goes within a while, and no request waits for it.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from threading import Event, Thread
from time import monotonic

from persistence.engine import Database
from persistence.kept_answers import delete_expired
from promo_api.errors import DependencyDown

_log = logging.getLogger(__name__)

_EVERY_S = 60.0
_ROWS = 1000


class Sweeper:
    """A thread that sweeps until it is stopped.

    Args:
        database: where the answers are kept.
        clock: tells what has expired.
        every_s: how long it rests when nothing is left to sweep.
    """

    def __init__(self, database: Database, clock: Callable[[], datetime], every_s: float = _EVERY_S) -> None:
        self._database = database
        self._clock = clock
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
        """Delete some of what has expired, the oldest first, and return how many rows that were."""
        with self._database.autocommit() as connection:
            return delete_expired(connection, self._clock(), limit=_ROWS)

    def _run(self) -> None:
        rest_s = 0.0
        while not self._stopped.wait(rest_s):
            began = monotonic()
            rest_s = self._every_s
            try:
                if self.sweep() == _ROWS:
                    rest_s = monotonic() - began
            except DependencyDown as error:
                _log.warning("sweep_failed: %s", error.reason)
