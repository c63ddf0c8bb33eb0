"""Counters in the memory of a worker: windows on arrival, counts that are flushed in steps, exceeded limits."""

from uuid import uuid4

import pytest

from promo_api.security.local_counters import ArrivalCounter, ExceededLimits, StepCounter


def test_arrivals_in_a_window() -> None:
    """Requests above the limit are refused until the window ends; then a new window starts."""
    now_s = 100.0
    counter, user_id = ArrivalCounter(2, 60, lambda: now_s), uuid4()
    assert [counter.count(user_id) for _ in range(2)] == [0, 0]
    now_s = 150.0
    assert [counter.count(user_id), counter.count(uuid4())] == [10, 0]
    now_s = 160.0
    assert [counter.count(user_id) for _ in range(3)] == [0, 0, 60]


@pytest.mark.parametrize("times", [1, 99, 199])
def test_low_limits_are_counted_one_by_one(times: int) -> None:
    """Below 200 every count is due at once."""
    counter = StepCounter()
    assert [counter.add("key", 1, times) for _ in range(3)] == [1, 1, 1]


def test_steps() -> None:
    """A count is due once 1 % of the limit is pending, for each key apart; nothing is lost or counted twice."""
    counter = StepCounter()
    assert [counter.add("key", 1, 300) for _ in range(6)] == [0, 0, 3, 0, 0, 3]
    assert counter.add("key", 2, 300) == 0
    assert counter.add("other", 1, 300) == 0
    assert counter.add("key", 5, 300) == 7


def test_exceeded_limit() -> None:
    """After a refusal the next count is due at once."""
    counter = StepCounter()
    counter.flush_next("key", 300)
    assert counter.add("key", 1, 300) > 0
    assert counter.add("key", 1, 300) == 0


def test_known_limits() -> None:
    """An exceeded limit is known until its window ends, for each key apart; 0 seconds change nothing."""
    now_s = 100.0
    limits = ExceededLimits(lambda: now_s)
    limits.add("key", 30)
    limits.add("key", 0)
    assert [limits.wait_s("key"), limits.wait_s("other")] == [30, 0]
    now_s = 129.0
    assert limits.wait_s("key") == 1
    now_s = 131.0
    assert limits.wait_s("key") == 0
