"""Compares the clock of this machine with those of servers."""

from collections.abc import Callable
from datetime import datetime

_READINGS = 3


def measure_difference_s(read: Callable[[], datetime], clock: Callable[[], datetime]) -> float:
    """Return by how many seconds the clock of a server is ahead of `clock`; 0.0: less than the error of measurement.

    A server reads its clock at an unknown moment of the round trip, so the shortest of several is used.
    """
    differences = (_read_once(read, clock) for _ in range(_READINGS))
    difference_s, error_s = min(differences, key=lambda each: each[1])
    return difference_s if abs(difference_s) > error_s else 0.0


def _read_once(read: Callable[[], datetime], clock: Callable[[], datetime]) -> tuple[float, float]:
    """Return the difference to the middle of the round trip, and half of the round trip."""
    began_at = clock()
    read_at = read()
    half = (clock() - began_at) / 2
    return (read_at - began_at - half).total_seconds(), half.total_seconds()
