"""The circuit breaker: when it opens, whom it lets through, and how it closes again."""

from collections.abc import Callable
from threading import Event, Thread

import pytest

from promo_api.breaker import Breaker, Phase

COOLDOWN_S = 5.0


class World:
    """A breaker that opens after three failures, with a clock that a test sets, and what it has told."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.told: list[Phase] = []
        self.breaker = Breaker(3, COOLDOWN_S, self.told.append, lambda: self.now_s)

    def succeeds(self) -> bool:
        """Make an attempt that would succeed, and tell whether it was made."""
        return self.breaker.run(lambda: "well") == "well"

    def fails(self) -> bool:
        """Make an attempt that would fail, and tell whether it was made."""
        made: list[None] = []
        assert self.breaker.run(lambda: made.append(None)) is None
        return bool(made)

    def open(self) -> None:
        """Let it fail until it is open."""
        assert [self.fails() for _ in range(3)] == [True] * 3
        assert self.breaker.refuses()


@pytest.fixture
def world() -> World:
    """A breaker that nobody has used."""
    return World()


def test_opens_after_failures_in_a_row(world: World) -> None:
    """Two failures do nothing, the third one opens it, and that is told once."""
    assert [world.fails(), world.fails(), world.breaker.refuses(), world.told] == [True, True, False, []]
    assert world.fails()
    assert [world.breaker.refuses(), world.told] == [True, [Phase.OPEN]]


def test_success_starts_the_count_anew(world: World) -> None:
    """Failures with a success between them are not in a row."""
    for _ in range(4):
        assert [world.fails(), world.fails(), world.succeeds()] == [True] * 3
    assert world.told == []


def test_refuses_until_the_cooldown_is_over(world: World) -> None:
    """While it is open no attempt is made, to the end of the cool-down, which refused attempts do not make longer."""
    world.open()
    for _ in range(3):
        assert [world.succeeds(), world.fails()] == [False, False]
        world.now_s += 1
    world.now_s = 1000.0 + COOLDOWN_S - 0.001
    assert [world.breaker.refuses(), world.succeeds()] == [True, False]
    world.now_s = 1000.0 + COOLDOWN_S
    assert [world.breaker.refuses(), world.succeeds()] == [False, True]


def test_probe_that_succeeds_closes(world: World) -> None:
    """After a probe that succeeded it is as at the start, and takes three failures to open again."""
    world.open()
    world.now_s += COOLDOWN_S
    assert world.succeeds()
    assert world.told == [Phase.OPEN, Phase.PROBING, Phase.CLOSED]
    assert [world.fails(), world.fails(), world.breaker.refuses()] == [True, True, False]


def test_probe_that_fails_opens_again(world: World) -> None:
    """One failure of a probe opens it for another whole cool-down."""
    world.open()
    world.now_s += COOLDOWN_S
    assert world.fails()
    assert world.told == [Phase.OPEN, Phase.PROBING, Phase.OPEN]
    world.now_s += COOLDOWN_S - 0.001
    assert not world.succeeds()
    world.now_s += 0.001
    assert world.succeeds()


def _held(attempt: Callable[[Callable[[], object]], object], result: object) -> tuple[Thread, Event]:
    """Start an attempt that ends, with the result, when the event is set; return when it is being made."""
    begun, let_go = Event(), Event()

    def wait() -> object:
        begun.set()
        assert let_go.wait(10)
        return result

    thread = Thread(target=attempt, args=(wait,))
    thread.start()
    assert begun.wait(10)
    return thread, let_go


@pytest.mark.parametrize("result", ["well", None])
def test_one_probe_at_a_time(world: World, result: object) -> None:
    """While the probe runs, for however long, every other attempt is refused."""
    world.open()
    world.now_s += COOLDOWN_S
    probe, let_go = _held(world.breaker.run, result)
    for _ in range(3):
        world.now_s += 10 * COOLDOWN_S
        assert [world.breaker.refuses(), world.succeeds(), world.fails()] == [True, False, False]
    let_go.set()
    probe.join(10)
    assert world.breaker.refuses() is (result is None)


def test_probe_that_raises_fails(world: World) -> None:
    """A probe that ends by an exception has failed: the exception goes on, and the breaker does not hang."""
    world.open()
    world.now_s += COOLDOWN_S
    with pytest.raises(ZeroDivisionError):
        world.breaker.run(lambda: 1 / 0)
    assert world.told == [Phase.OPEN, Phase.PROBING, Phase.OPEN]
    world.now_s += COOLDOWN_S
    assert world.succeeds()


def test_probe_whose_telling_raises_fails() -> None:
    """Nor does it hang if what is told of the probe can't be told."""
    now, told = [0.0], []

    def tell(phase: Phase) -> None:
        told.append(phase)
        if phase is Phase.PROBING:
            raise OSError("nobody listens")

    breaker = Breaker(1, COOLDOWN_S, tell, lambda: now[0])
    breaker.run(lambda: None)
    now[0] += COOLDOWN_S
    with pytest.raises(OSError, match="nobody listens"):
        breaker.run(lambda: "well")
    assert told == [Phase.OPEN, Phase.PROBING, Phase.OPEN]


def test_exceptions_are_failures(world: World) -> None:
    """An attempt that ends by an exception counts as one without a result."""
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            world.breaker.run(lambda: 1 / 0)
    assert world.breaker.refuses()


@pytest.mark.parametrize("result", ["well", None])
def test_late_ends_change_nothing(world: World, result: object) -> None:
    """An attempt from before the opening neither closes the breaker nor opens it anew when it ends at last."""
    late, let_go = _held(world.breaker.run, result)
    world.open()
    let_go.set()
    late.join(10)
    assert world.told == [Phase.OPEN]
    world.now_s += COOLDOWN_S
    assert world.succeeds()
