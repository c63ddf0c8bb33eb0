"""The circuit breaker: when it opens, which calls it refuses, and how it closes again."""

from collections.abc import Callable
from threading import Event, Thread

import pytest

from promo_api.circuit_breaker import CircuitBreaker, State

COOLDOWN_S = 5.0


class World:
    """A breaker that opens after three failures, with a settable clock and a list of the states it reported."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.states: list[State] = []
        self.breaker = CircuitBreaker(3, COOLDOWN_S, self.states.append, lambda: self.now_s)

    def succeeds(self) -> bool:
        """Make a call that succeeds; return whether it was let through."""
        return self.breaker.run(lambda: "well") == "well"

    def fails(self) -> bool:
        """Make a call that fails; return whether it was let through."""
        calls: list[None] = []
        assert self.breaker.run(lambda: calls.append(None)) is None
        return bool(calls)

    def open(self) -> None:
        """Open the circuit by three failures."""
        assert [self.fails() for _ in range(3)] == [True] * 3
        assert self.breaker.refuses()


@pytest.fixture
def world() -> World:
    """A new breaker."""
    return World()


def test_opens_after_consecutive_failures(world: World) -> None:
    """Two failures change nothing. The third opens the circuit, which is reported once."""
    assert [world.fails(), world.fails(), world.breaker.refuses(), world.states] == [True, True, False, []]
    assert world.breaker.is_closed
    assert world.fails()
    assert [world.breaker.refuses(), world.breaker.is_closed, world.states] == [True, False, [State.OPEN]]


def test_success_resets_the_count(world: World) -> None:
    """Failures with a success between them are not consecutive."""
    for _ in range(4):
        assert [world.fails(), world.fails(), world.succeeds()] == [True] * 3
    assert world.states == []


def test_refuses_during_the_cooldown(world: World) -> None:
    """No call is let through until the cool-down ends. Refused calls do not prolong it."""
    world.open()
    for _ in range(3):
        assert [world.succeeds(), world.fails()] == [False, False]
        world.now_s += 1
    world.now_s = 1000.0 + COOLDOWN_S - 0.001
    assert [world.breaker.refuses(), world.succeeds()] == [True, False]
    world.now_s = 1000.0 + COOLDOWN_S
    assert [world.breaker.refuses(), world.succeeds()] == [False, True]


def test_successful_probe_closes(world: World) -> None:
    """After a successful probe the breaker is as new: it takes three failures to open it again."""
    world.open()
    world.now_s += COOLDOWN_S
    assert world.succeeds()
    assert world.states == [State.OPEN, State.HALF_OPEN, State.CLOSED]
    assert [world.fails(), world.fails(), world.breaker.refuses()] == [True, True, False]


def test_failed_probe_opens_again(world: World) -> None:
    """One failed probe opens the circuit for another full cool-down."""
    world.open()
    world.now_s += COOLDOWN_S
    assert world.fails()
    assert world.states == [State.OPEN, State.HALF_OPEN, State.OPEN]
    world.now_s += COOLDOWN_S - 0.001
    assert not world.succeeds()
    world.now_s += 0.001
    assert world.succeeds()


def _start(run: Callable[[Callable[[], object]], object], result: object) -> tuple[Thread, Event]:
    """Start a call that returns the result when the event is set; return once the call runs."""
    begun, finish = Event(), Event()

    def wait() -> object:
        begun.set()
        assert finish.wait(10)
        return result

    thread = Thread(target=run, args=(wait,))
    thread.start()
    assert begun.wait(10)
    return thread, finish


@pytest.mark.parametrize("result", ["well", None])
def test_one_probe_at_a_time(world: World, result: object) -> None:
    """While the probe runs, every other call is refused."""
    world.open()
    world.now_s += COOLDOWN_S
    probe, finish = _start(world.breaker.run, result)
    for _ in range(3):
        world.now_s += 10 * COOLDOWN_S
        assert [world.breaker.refuses(), world.succeeds(), world.fails()] == [True, False, False]
    finish.set()
    probe.join(10)
    assert world.breaker.refuses() is (result is None)


def test_probe_that_raises_fails(world: World) -> None:
    """A probe that raises has failed: the exception is passed on, and the circuit does not stay half-open."""
    world.open()
    world.now_s += COOLDOWN_S
    with pytest.raises(ZeroDivisionError):
        world.breaker.run(lambda: 1 / 0)
    assert world.states == [State.OPEN, State.HALF_OPEN, State.OPEN]
    world.now_s += COOLDOWN_S
    assert world.succeeds()


def test_probe_fails_if_its_report_raises() -> None:
    """The circuit does not stay half-open either if reporting the probe raises."""
    now, states = [0.0], []

    def report(state: State) -> None:
        states.append(state)
        if state is State.HALF_OPEN:
            raise OSError("cannot report")

    breaker = CircuitBreaker(1, COOLDOWN_S, report, lambda: now[0])
    breaker.run(lambda: None)
    now[0] += COOLDOWN_S
    with pytest.raises(OSError, match="cannot report"):
        breaker.run(lambda: "well")
    assert states == [State.OPEN, State.HALF_OPEN, State.OPEN]


def test_exceptions_are_failures(world: World) -> None:
    """A call that raises counts as a failure."""
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            world.breaker.run(lambda: 1 / 0)
    assert world.breaker.refuses()


@pytest.mark.parametrize("result", ["well", None])
def test_late_outcomes_are_ignored(world: World, result: object) -> None:
    """A call that began before the circuit opened neither closes it nor opens it again when it ends."""
    late, finish = _start(world.breaker.run, result)
    world.open()
    finish.set()
    late.join(10)
    assert world.states == [State.OPEN]
    world.now_s += COOLDOWN_S
    assert world.succeeds()


def test_recorded_failures_open(world: World) -> None:
    """Failures of calls that were not made by the breaker open a closed circuit, and change nothing in an open one."""
    for _ in range(5):
        world.breaker.record_failure()
    assert world.states == [State.OPEN]
    world.now_s += COOLDOWN_S
    probe, finish = _start(world.breaker.run, "well")
    world.breaker.record_failure()
    finish.set()
    probe.join(10)
    assert world.states == [State.OPEN, State.HALF_OPEN, State.CLOSED]


def test_no_cooldown() -> None:
    """Without a cool-down the next call is the probe, also after a probe that failed; a second call is refused."""
    breaker = CircuitBreaker(1, 0)
    breaker.record_failure()
    assert [breaker.is_closed, breaker.refuses()] == [False, False]
    assert breaker.run(lambda: None) is None
    probe, finish = _start(breaker.run, "well")
    assert breaker.run(lambda: "well") is None
    finish.set()
    probe.join(10)
    assert breaker.is_closed
