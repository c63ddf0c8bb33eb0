"""Exponential backoff with jitter."""

from random import uniform

# Enough for each maximum, and no overflow of a float.
_DOUBLINGS_MAX = 64
_JITTER_MIN = 0.75


def backoff_s(failures: int, first_s: float, max_s: float) -> float:
    """Return the pause after a number of consecutive failures: about `first_s` after the first, doubled by each more.

    It is at most `max_s`, and up to a quarter shorter by chance, so that processes do not retry together.
    """
    doublings = min(max(failures, 1) - 1, _DOUBLINGS_MAX)
    return min(first_s * 2.0**doublings, max_s) * uniform(_JITTER_MIN, 1.0)  # noqa: S311
