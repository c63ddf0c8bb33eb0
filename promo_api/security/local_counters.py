"""Counters of rate limits in the memory of a worker."""

import time
from collections.abc import Callable, Hashable
from threading import Lock
from uuid import UUID

from cachetools import LRUCache

# Above this number, the least recently used account loses its count.
_ACCOUNTS_MAX = 10_000
_STEPS = 100


class ArrivalCounter:
    """Counts in fixed windows, for one limit, to refuse requests on arrival. Not thread-safe.

    Args:
        times: events per window.
        period_s: length of a window.
        clock: seconds, monotonic.
    """

    def __init__(self, times: int, period_s: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._times, self._period_s, self._clock = times, period_s, clock
        # By account: the start of its window, and the requests in it.
        self._windows: LRUCache[UUID, tuple[float, int]] = LRUCache(_ACCOUNTS_MAX)

    def count(self, account_id: UUID) -> float:
        """Count a request. Return 0, or the seconds until the window ends if it exceeds the limit."""
        now_s = self._clock()
        start_s, count = self._windows.get(account_id, (now_s, 0))
        if now_s - start_s >= self._period_s:
            start_s, count = now_s, 0
        if count >= self._times:
            return start_s + self._period_s - now_s
        self._windows[account_id] = start_s, count + 1
        return 0.0


class StepCounter:
    """Collects counts until they reach 1 % of a limit, to save round trips to Redis. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._pending: LRUCache[Hashable, int] = LRUCache(_ACCOUNTS_MAX)

    def add(self, key: Hashable, amount: int, times: int) -> int:
        """Add to the pending count of a key, for a limit of `times` events. Return the count to flush now, or 0."""
        with self._lock:
            pending = self._pending.pop(key, 0) + amount
            if pending >= times // _STEPS:
                return pending
            self._pending[key] = pending
            return 0

    def flush_next(self, key: Hashable, times: int) -> None:
        """Flush the next count of a key: the limit is exceeded, so Redis must check every further event."""
        with self._lock:
            self._pending[key] = times // _STEPS
