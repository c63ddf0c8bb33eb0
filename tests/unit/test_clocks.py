"""The comparison of clocks."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from promo_api.clocks import measure_difference_s

_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _clock(*seconds: float) -> Callable[[], datetime]:
    times: Iterator[float] = iter(seconds)
    return lambda: _NOW + timedelta(seconds=next(times))


def test_shortest_round_trip() -> None:
    """The difference to the middle of the shortest round trip counts."""
    clock = _clock(0, 4, 10, 10.2, 20, 22)
    assert measure_difference_s(_clock(50, 13.1, 80), clock) == pytest.approx(3)


def test_error_of_measurement() -> None:
    """A difference that the round trip can explain is none."""
    assert measure_difference_s(_clock(1.9, 1.9, 1.9), _clock(0, 2, 0, 2, 0, 2)) == 0
    assert measure_difference_s(_clock(-1, -1, -1), _clock(0, 1, 0, 1, 0, 1)) == pytest.approx(-1.5)
