"""A circuit breaker: consecutive failures stop calls for a time, then one probe tests for recovery."""

import time
from collections.abc import Callable
from enum import Enum
from threading import Lock
from typing import TypeVar

_T = TypeVar("_T")


class State(Enum):
    """The state of a circuit breaker."""

    CLOSED = "closed"
    OPEN = "open"  # until the cool-down ends
    HALF_OPEN = "half_open"  # one probe runs; other calls are refused


def _ignore(_state: State) -> None:
    pass


class CircuitBreaker:
    """Refuses calls for `cooldown_s` seconds after `failures` consecutive failures. Thread-safe.

    The thread that changes the state calls `on_change`, so concurrent changes may be reported in any order.
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
        # The number of state changes. The result of a call that began before the latest change is ignored.
        self._generation = 0
        self._failures = 0
        self._open_until = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether calls go through; takes no lock."""
        return self._state is State.CLOSED

    def refuses(self) -> bool:
        """Return whether a call would be refused now."""
        with self._lock:
            return self._refuses()

    def wait_s(self) -> float:
        """Return the seconds until an open circuit lets a probe through; 0 if it is not open."""
        with self._lock:
            return max(0.0, self._open_until - self._clock()) if self._state is State.OPEN else 0.0

    def run(self, call: Callable[[], _T | None]) -> _T | None:
        """Make a call and return its result; None: it failed or was refused.

        An exception is a failure too, and is raised again.
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
            # A probe that never ended would leave the circuit half-open.
            self._end(generation, succeeded=result is not None)
        return result

    def record_failure(self) -> None:
        """Count a failure outside `run`, if the circuit is closed."""
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
            # The count is still at the limit, so a failed probe opens the circuit again.
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
