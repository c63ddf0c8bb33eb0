"""tests.bench.overload: samples of honest clients and of memory, and the result."""

from itertools import chain

from tests.bench.overload_samples import (
    ACTIVATION,
    FEED,
    PING,
    PROFILE,
    SIGN_IN,
    Memory,
    Outcome,
    Sample,
    percentile,
    worst,
)
from tests.cases import all_cases

_SAMPLES = [
    *(Sample(kind, 0, 0.01, 200) for kind in (PING, PROFILE, ACTIVATION, FEED)),
    *(Sample(SIGN_IN, 0, 0.5, status) for status in (200,) * 9 + (503,)),
]
_MEMORY = [Memory(100, 300, 160), Memory(100, 110, 100)]


def _outcome(*samples: Sample, memory: list[Memory] = _MEMORY, **changes: float) -> Outcome:
    return Outcome([*chain(_SAMPLES, samples)], memory, **changes)  # type: ignore[arg-type]


def test_bounds_are_met() -> None:
    """Values at the bounds are met."""
    outcome = _outcome()
    assert (outcome.broken(), str(outcome).split()[-1]) == ([], "met")


@all_cases(
    ("outcome", "broken"),
    [
        (_outcome(Sample(PING, 0, 1.0, 200)), ["ping took 1 s"]),
        (_outcome(Sample(PROFILE, 0, 2.0, 200)), ["profile took 2 s"]),
        (_outcome(Sample(ACTIVATION, 0, 2.0, 200)), ["activation took 2 s"]),
        (_outcome(Sample(FEED, 0, 2.0, 200)), ["feed took 2 s"]),
        (_outcome(Sample(PROFILE, 0, 0.01, 503)), ["profile not served"]),
        (_outcome(Sample(SIGN_IN, 0, 0.01, 503)), ["sign-ins not served"]),
        (_outcome(memory=[Memory(100, 161, 161)]), ["memory not returned"]),
        (_outcome(memory=[Memory(100, 201, 100)], grown_max_mb=100), ["memory at a moment"]),
        (_outcome(cut=1), ["responses cut"]),
        (_outcome(Sample(SIGN_IN, 0, 10, 0), Sample(SIGN_IN, 0, 1, 200)), ["sign-ins not served", "responses cut"]),
        (_outcome(killed=1), ["workers killed"]),
    ],
)
def test_bounds_are_not_met(outcome: Outcome, broken: list[str]) -> None:
    """Each bound is checked, and the row names the bounds that are not met."""
    assert outcome.broken() == broken
    assert str(outcome).endswith(f"NOT MET: {', '.join(broken)}")


def test_nothing_measured() -> None:
    """A kind of request without a sample is not met."""
    assert Outcome([], [Memory(1, 1, 1)]).broken() == [
        *("ping took 1 s", "activation took 2 s", "profile took 2 s"),
        *("activation not served", "ping not served", "profile not served", "sign-ins not served"),
    ]


def test_memory_of_the_worker_that_grew_most() -> None:
    """The table shows the worker whose memory grew most."""
    assert _outcome(memory=[Memory(200, 210, 200), Memory(100, 130, 100)]).worst_memory == Memory(100, 130, 100)


def test_percentile() -> None:
    """The nearest rank: at most one of a hundred values is greater than the 99th percentile."""
    assert percentile([*range(200)], 99) == 197
    assert (percentile([3.0], 99), percentile([], 99), worst([])) == (3.0, float("inf"), float("inf"))
