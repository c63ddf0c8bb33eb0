"""The memory of a process: one heap, and the release of free memory."""

import ctypes
import gc
import logging
from contextlib import suppress
from time import perf_counter

from promo_api.telemetry.process import resident_bytes

_log = logging.getLogger(__name__)

_M_ARENA_MAX = -8  # of mallopt
# With the default of 700, a body of 700,000 empty lists took a second.
_COLLECTOR_THRESHOLD = 50_000
_MB = 1_000_000
# More than a password hash. A release takes 1 to 5 ms.
_MIN_GROWTH_BYTES = 32 * 1024 * 1024
_MIN_LOGGED_BYTES = 8 * 1024 * 1024
_INTERVAL_S = 10.0


class MemoryRelease:
    """Releases memory after a peak, once connections are closed."""

    def __init__(self) -> None:
        self._start_bytes = resident_bytes()
        self._closed = 0
        self._next_s = 0.0

    def run_if_due(self, closed: int, now_s: float) -> None:
        """Call this about once a second; `closed`: connections so far."""
        if now_s < self._next_s or closed == self._closed:
            return
        before_bytes = resident_bytes()
        if before_bytes - self._start_bytes < _MIN_GROWTH_BYTES:
            return
        self._closed, self._next_s = closed, now_s + _INTERVAL_S
        began_s = perf_counter()
        release_memory()
        pause_ms = round((perf_counter() - began_s) * 1000, 2)
        released_bytes = before_bytes - resident_bytes()
        if released_bytes >= _MIN_LOGGED_BYTES:
            _log.info("memory_released", extra={"released_mb": released_bytes // _MB, "pause_ms": pause_ms})


def release_memory() -> None:
    """Return free memory to the system (glibc)."""
    gc.collect()
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def tune_collector() -> None:
    """Collect garbage rarely, and never the application itself."""
    gc.set_threshold(_COLLECTOR_THRESHOLD)
    gc.freeze()


def share_one_arena() -> None:
    """Call this before any thread starts. By default (glibc) each thread keeps the memory of its largest response."""
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
