"""A circuit breaker: after consecutive failures it refuses calls, then lets one probe through to test for recovery."""

import time
from collections.abc import Callable
from enum import Enum
from threading import Lock
from typing import TypeVar

_T = TypeVar("_T")


class State(Enum):
    """The state of a circuit breaker."""

    CLOSED = "closed"  # calls go through
    OPEN = "open"  # calls are refused until the cool-down ends
    HALF_OPEN = "half_open"  # one probe runs and decides; other calls are refused


def _ignore(_state: State) -> None:
    pass


class CircuitBreaker:
    """Counts the failures of one process and refuses calls while the circuit is open. Thread-safe.

    Args:
        failures: consecutive failures that open the circuit.
        cooldown_s: how long an open circuit refuses calls. The next call is the probe.
        on_change: called with the new state, by the thread that caused the change. Concurrent changes may be reported
            in any order.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        failures: int,
        cooldown_s: float,
        on_change: Callable[[State], None] = _ignore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = failures
        self._cooldown_s = cooldown_s
        self._on_change = on_change
        self._clock = clock
        self._lock = Lock()
        self._state = State.CLOSED
        # The number of state changes. The result of a call that began before the last of them is ignored.
        self._generation = 0
        self._failures = 0
        self._open_until = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether calls go through. Takes no lock."""
        return self._state is State.CLOSED

    def refuses(self) -> bool:
        """Return whether a call would be refused now."""
        with self._lock:
            return self._refuses()

    def run(self, call: Callable[[], _T | None]) -> _T | None:
        """Make a call, unless it is refused.

        Args:
            call: returns None if it failed. An exception is a failure too and is passed on.

        Returns:
            The result of the call. None: it failed or was refused.
        """
        admitted = self._admit()
        if admitted is None:
            return None
        state, generation = admitted
        result = None
        try:
            if state is State.HALF_OPEN:
                self._on_change(state)
            result = call()
        finally:
            # Always, because a probe that never ended would leave the circuit half-open.
            self._end(generation, succeeded=result is not None)
        return result

    def record_failure(self) -> None:
        """Count the failure of a call outside `run`. Only a closed circuit counts it."""
        with self._lock:
            generation = self._generation if self._state is State.CLOSED else None
        if generation is not None:
            self._end(generation, succeeded=False)

    def _admit(self) -> tuple[State, int] | None:
        with self._lock:
            if self._refuses():
                return None
            if self._state is State.OPEN:
                self._change(State.HALF_OPEN)
            return self._state, self._generation

    def _end(self, generation: int, *, succeeded: bool) -> None:
        with self._lock:
            if generation != self._generation:
                return
            # A failed probe adds to the failures that opened the circuit, and so opens it again.
            self._failures = 0 if succeeded else self._failures + 1
            state = State.OPEN if self._failures >= self._limit else State.CLOSED
            if state is self._state:
                return
            self._change(state)
        self._on_change(state)

    def _refuses(self) -> bool:
        return self._state is State.HALF_OPEN or (self._state is State.OPEN and self._clock() < self._open_until)

    def _change(self, state: State) -> None:
        self._state = state
        self._generation += 1
        if state is State.OPEN:
            self._open_until = self._clock() + self._cooldown_s
