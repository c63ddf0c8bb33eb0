"""tests.bench.memory: the result for the memory of a worker."""

import pytest

from tests.bench.memory import growth, verdict

_MINUTE = 6


def _samples(*minutes_mb: float) -> list[float]:
    return [minute_mb for minute_mb in minutes_mb for _ in range(_MINUTE)]


def test_growth() -> None:
    """The last two minutes are compared with minutes three and four; peaks do not count."""
    rss = _samples(1, 1, 100, 100, 500, 103, 103)
    rss[2 * _MINUTE] = rss[-1] = 900
    assert growth(rss) == pytest.approx(0.03)


@pytest.mark.parametrize(
    ("rss", "result"),
    [
        (_samples(90, 90, 146, 146, 150, 150), "met"),
        (_samples(90, 90, 150.2, 150.2, 150.2, 150.2), "NOT MET"),
        (_samples(90, 90, 100, 100, 102, 104, 104), "NOT MET"),
        (_samples(90, 90, 140, 140, 90, 90), "met"),
        ([*_samples(90, 90, 140, 140, 140, 140)[:-1], 160], "met"),
    ],
)
def test_verdict(rss: list[float], result: str) -> None:
    """The memory must be small at the end, and must not grow after the start; peaks do not count."""
    assert verdict(rss).endswith(f": {result}.")
