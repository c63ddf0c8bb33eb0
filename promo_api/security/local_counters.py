"""Counters of rate limits in the memory of a worker."""

import time
from collections.abc import Callable, Hashable
from threading import Lock
from uuid import UUID

from cachetools import LRUCache

# Beyond it, the least recently used account loses its count.
_ACCOUNTS_MAX = 10_000
_STEPS = 100


class ArrivalCounter:
    """Refuses requests above one limit, in fixed windows. Not thread-safe."""

    def __init__(self, times: int, period_s: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._times, self._period_s, self._clock = times, period_s, clock
        # Start of the window, and requests in it.
        self._windows: LRUCache[UUID, tuple[float, int]] = LRUCache(_ACCOUNTS_MAX)

    def count(self, account_id: UUID) -> float:
        """Count a request; return the seconds to wait, 0 within the limit."""
        now_s = self._clock()
        start_s, count = self._windows.get(account_id, (now_s, 0))
        if now_s - start_s >= self._period_s:
            start_s, count = now_s, 0
        if count >= self._times:
            return start_s + self._period_s - now_s
        self._windows[account_id] = start_s, count + 1
        return 0.0


class StepCounter:
    """Collects counts up to 1 % of a limit, to save round trips to Redis. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._pending: LRUCache[Hashable, int] = LRUCache(_ACCOUNTS_MAX)

    def add(self, key: Hashable, amount: int, times: int) -> int:
        """Add to a key's count; return the count to flush now, or 0."""
        with self._lock:
            pending = self._pending.pop(key, 0) + amount
            if pending >= times // _STEPS:
                return pending
            self._pending[key] = pending
            return 0

    def flush_next(self, key: Hashable, times: int) -> None:
        """Flush the next count at once, because the limit is exceeded."""
        with self._lock:
            self._pending[key] = times // _STEPS


class ExceededLimits:
    """The limits that this worker has found exceeded, until their windows end. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._ends_s: LRUCache[Hashable, float] = LRUCache(_ACCOUNTS_MAX)

    def add(self, key: Hashable, wait_s: float) -> None:
        """Store that a limit is exceeded for `wait_s` seconds; 0: it is not."""
        if wait_s:
            with self._lock:
                self._ends_s[key] = self._clock() + wait_s

    def wait_s(self, key: Hashable) -> float:
        """Return the seconds until the window ends; 0: the limit is not known to be exceeded."""
        with self._lock:
            return max(self._ends_s.get(key, 0.0) - self._clock(), 0.0)
