"""Long computations between requests.

A thread of Python computes for 5 ms before it lets another run, and a request waits for several such turns. During long
computations, such as the rows of an import, turns are shorter.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_TURN_S, _SHORT_TURN_S = sys.getswitchinterval(), 0.0002


class _Computations:
    """The computations that run in this process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._running = 0

    def add(self, number: int) -> None:
        """Count the beginning (1) or the end (-1) of a computation."""
        with self._lock:
            self._running += number
            sys.setswitchinterval(_SHORT_TURN_S if self._running else _TURN_S)


_computations = _Computations()


@contextmanager
def short_turns() -> Iterator[None]:
    """Let other threads run often during a block. It is slower, so it should not wait for anything for long."""
    _computations.add(1)
    try:
        yield
    finally:
        _computations.add(-1)
