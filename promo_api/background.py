"""Background jobs: threads that repeat a task and survive any error."""

import logging
from collections.abc import Callable
from threading import Event, Thread
from time import monotonic

from promo_api.backoff import backoff_s
from promo_api.errors import ServiceUnavailable

_log = logging.getLogger(__name__)

_BACKOFF_MAX_S = 60.0


def _never(_since_s: float) -> bool:
    return False


class BackgroundJob:
    """A thread that repeats a task, with a pause of `every_s` seconds, until it is stopped.

    If `task` returns that more work is waiting, the pause is `rest` times the duration of the task. Each consecutive
    failure doubles the pause, up to `backoff_max_s`. `stop` waits for a running task, at most `stop_max_s` if given.
    """

    def __init__(
        self,
        name: str,
        task: Callable[[], bool],
        every_s: float,
        backoff_max_s: float = _BACKOFF_MAX_S,
        rest: float = 1.0,
        stop_max_s: float | None = None,
    ) -> None:
        self._name = name
        self._task = task
        self._every_s = every_s
        self._backoff_max_s = max(every_s, backoff_max_s)
        self._rest = rest
        self._stop_max_s = stop_max_s
        self._failures = 0
        self._had_outage: Callable[[float], bool] = _never
        self._stopped = Event()
        self._thread = Thread(target=self._repeat, name=f"job-{name}", daemon=True)

    def start(self, had_outage: Callable[[float], bool] = _never) -> None:
        """Start the thread; call it after a fork, which copies no threads.

        Args:
            had_outage: returns whether PostgreSQL has been unavailable since a time of `monotonic`. Failures due to
                this are not logged for each job.
        """
        self._had_outage = had_outage
        self._thread.start()

    def begin_stop(self) -> None:
        """Let the thread end after a running task."""
        self._stopped.set()

    def stop(self) -> None:
        """Wait until the thread ends; after `stop_max_s` it is left to end with the process."""
        self.begin_stop()
        self._thread.join(self._stop_max_s)

    def _repeat(self) -> None:
        pause_s = 0.0
        while not self._stopped.wait(pause_s):
            pause_s = self._run()

    def _run(self) -> float:
        """Run the task once and return the next pause."""
        began_s = monotonic()
        try:
            has_more = self._task()
        except Exception as error:  # noqa: BLE001 no error may end the job
            self._failures += 1
            if not isinstance(error, ServiceUnavailable) or not self._had_outage(began_s):
                self._log_failure(error)
            return backoff_s(self._failures, 2 * self._every_s, self._backoff_max_s)
        self._failures = 0
        return self._rest * (monotonic() - began_s) if has_more else self._every_s

    def _log_failure(self, error: Exception) -> None:
        is_outage = isinstance(error, ServiceUnavailable)
        reason = error.reason if isinstance(error, ServiceUnavailable) else type(error).__qualname__
        _log.warning("job_failed", extra={"job": self._name, "reason": reason}, exc_info=None if is_outage else error)
