"""A circuit breaker: after so many failures in a row nobody tries for a while; then one does, for all others."""

import time
from collections.abc import Callable
from enum import Enum, auto
from threading import Lock
from typing import TypeVar

_T = TypeVar("_T")


class Phase(Enum):
    """How a breaker stands."""

    CLOSED = auto()  # every attempt is made
    OPEN = auto()  # none is made until the cool-down is over
    PROBING = auto()  # one is being made, and decides


class Breaker:
    """Counts the failures of the attempts of one process, and refuses attempts while it is open. Threads may share it.

    Args:
        failures: after how many in a row it opens.
        cooldown_s: for how long it refuses everything then; the first attempt after that is the probe.
        tell: is called with the phase that has just begun, by the thread whose attempt began it. It is called without
            the lock, so that it may take its time; what it does of two changes at once may come in another order.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        failures: int,
        cooldown_s: float,
        tell: Callable[[Phase], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = failures
        self._cooldown_s = cooldown_s
        self._tell = tell
        self._clock = clock
        self._lock = Lock()
        self._phase = Phase.CLOSED
        # Counts the phases: the end of an attempt that began in an earlier one says nothing of how things stand now.
        self._number = 0
        self._failures = 0
        self._open_until = 0.0

    def refuses(self) -> bool:
        """Tell whether an attempt would be refused now."""
        with self._lock:
            return self._refuses()

    def run(self, attempt: Callable[[], _T | None]) -> _T | None:
        """Make an attempt, unless it is refused.

        Args:
            attempt: returns None if it failed; an exception is a failure too, and is passed on.

        Returns:
            What the attempt returned; None also if it was refused.
        """
        admitted = self._admit()
        if admitted is None:
            return None
        phase, number = admitted
        result = None
        try:
            if phase is Phase.PROBING:
                self._tell(phase)
            result = attempt()
        finally:
            # However the probe ends: without an end to it, the breaker would refuse for ever.
            self._end(number, succeeded=result is not None)
        return result

    def _admit(self) -> tuple[Phase, int] | None:
        with self._lock:
            if self._refuses():
                return None
            if self._phase is Phase.OPEN:
                self._begin(Phase.PROBING)
            return self._phase, self._number

    def _end(self, number: int, *, succeeded: bool) -> None:
        with self._lock:
            if number != self._number:
                return
            # A probe that fails is one failure more in the row that opened it.
            self._failures = 0 if succeeded else self._failures + 1
            phase = Phase.OPEN if self._failures >= self._limit else Phase.CLOSED
            if phase is self._phase:
                return
            self._begin(phase)
        self._tell(phase)

    def _refuses(self) -> bool:
        return self._phase is Phase.PROBING or (self._phase is Phase.OPEN and self._clock() < self._open_until)

    def _begin(self, phase: Phase) -> None:
        self._phase = phase
        self._number += 1
        if phase is Phase.OPEN:
            self._open_until = self._clock() + self._cooldown_s
