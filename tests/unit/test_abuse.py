"""What the day of abuse makes of limits, and what it says of them."""

from collections import Counter

import pytest

from promo_api.setting_values import Rate
from tests.bench.abuse import held, shortened


@pytest.mark.parametrize(
    ("rate", "short"),
    [
        (Rate(20_000, 3600), Rate(111, 20)),
        (Rate(6000, 600), Rate(30, 3)),
        (Rate(20, 900), Rate(20, 5)),
        (Rate(100, 60), Rate(20, 1)),
    ],
)
def test_shortened(rate: Rate, short: Rate) -> None:
    """A period is as much shorter as the day, a second at least; it lets as much less through, 20 at least."""
    assert shortened(rate, 180) == short


@pytest.mark.parametrize(
    ("tally", "told"),
    [
        ({401: 30, 429: 1}, "met"),
        ({401: 31, 429: 1}, "NOT MET"),
        ({401: 30}, "NOT MET"),
    ],
)
def test_held(tally: dict[int, int], told: str) -> None:
    """Within 20 seconds a period of 10 s begins three times at most; a limit that nobody came upon shows nothing."""
    outcome = held(Rate(10, 10), 401, Counter(tally), 20)
    assert (outcome.most, str(outcome).rpartition("  ")[2]) == (30, told)
