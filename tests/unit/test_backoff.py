"""Exponential backoff."""

import pytest

from promo_api.backoff import backoff_s


@pytest.mark.parametrize(
    ("failures", "longest_s"),
    [(0, 5), (1, 5), (2, 10), (3, 20), (7, 300), (10_000, 300)],
)
def test_pauses(failures: int, longest_s: float) -> None:
    """The pause doubles up to the maximum, and is up to a quarter shorter by chance."""
    pauses = [backoff_s(failures, 5, 300) for _ in range(200)]
    assert longest_s * 0.75 <= min(pauses) < longest_s * 0.85
    assert longest_s * 0.9 < max(pauses) <= longest_s
