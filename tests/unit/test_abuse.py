"""tests.bench.abuse: shortened limits, and their results."""

from collections import Counter

import pytest

from promo_api.config.values import Rate
from tests.bench.abuse import limit_result, shortened


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
    """The period and the count shrink in proportion, to at least 1 s and 20."""
    assert shortened(rate, 180) == short


@pytest.mark.parametrize(
    ("tally", "verdict"),
    [
        ({401: 30, 429: 1}, "met"),
        ({401: 31, 429: 1}, "NOT MET"),
        ({401: 30}, "NOT MET"),
    ],
)
def test_limit_result(tally: dict[int, int], verdict: str) -> None:
    """At most three periods of 10 s overlap 20 s. A limit that refused nothing is not met."""
    result = limit_result(Rate(10, 10), 401, Counter(tally), 20)
    assert (result.allowed, str(result).rpartition("  ")[2]) == (30, verdict)
