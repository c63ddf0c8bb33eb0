"""The memory of a process: one heap, rare garbage collections, and the return of free memory to the system.

CPython frees reference cycles only when the garbage collector runs, and the C library keeps freed memory for later use.
After a peak both hold memory that other processes may need.
"""

import ctypes
import gc
import logging
from contextlib import suppress
from pathlib import Path
from time import perf_counter

_log = logging.getLogger(__name__)

_M_ARENA_MAX = -8  # of mallopt
# Objects created before the collector runs. With the default of 700, a body of 700,000 empty lists took a second.
_COLLECTOR_THRESHOLD = 50_000
_STATM = Path("/proc/self/statm")
_PAGE_BYTES = 4096
_MB = 1_000_000
# More than a password hash needs. A release takes 1 to 5 ms of CPU.
_MIN_GROWTH_BYTES = 32 * 1024 * 1024
_MIN_LOGGED_BYTES = 8 * 1024 * 1024
_INTERVAL_S = 10.0


class MemoryRelease:
    """Releases memory every ten seconds while the process is larger than at its start and connections are closed."""

    def __init__(self) -> None:
        self._start_bytes = resident_bytes()
        self._closed = 0
        self._next_s = 0.0

    def run_if_due(self, closed: int, now_s: float) -> None:
        """Release memory if it is due. Call this about once a second.

        Args:
            closed: number of connections closed so far.
            now_s: by time.perf_counter.
        """
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


def resident_bytes() -> int:
    """Return the resident memory of this process; 0 if the system does not report it."""
    with suppress(OSError):
        return int(_STATM.read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
    return 0


def release_memory() -> None:
    """Collect garbage, and return free memory to the system if the C library is glibc."""
    gc.collect()
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def tune_collector() -> None:
    """Run the garbage collector rarely, and never on the objects of the application, which exist already."""
    gc.set_threshold(_COLLECTOR_THRESHOLD)
    gc.freeze()


def share_one_arena() -> None:
    """Use one heap for all threads of this process and its forks if the C library is glibc.

    By default each thread has a heap, which keeps the memory of its largest response or password hash. Four heaps took
    50 MB more, for few more requests per second. Call this before any thread starts.
    """
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
