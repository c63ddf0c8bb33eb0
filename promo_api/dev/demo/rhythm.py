"""When people act: more by day than by night, more at weekends, and most just after a promo has begun."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import accumulate
from random import Random

# By hour in UTC, for users in Europe and America.
_HOURS = (
    0.25, 0.15, 0.1, 0.1, 0.12, 0.25, 0.6, 1.0, 1.3, 1.2, 1.1, 1.3,
    1.6, 1.4, 1.1, 1.1, 1.3, 1.6, 1.9, 2.1, 1.9, 1.4, 0.8, 0.45,
)  # fmt: skip
# From Monday.
_DAYS = (0.9, 0.9, 1.0, 1.0, 1.2, 1.4, 1.1)
_STEP = timedelta(minutes=15)
_GROWTH_PER_DAY = 0.012
_LAUNCH, _LAUNCH_DAYS = 1.5, 2.0
_BUSY = 500
_DAY_S = 86400


def spread(random: Random, number: int, begin: datetime, end: datetime) -> list[datetime]:
    """Return random times between two times, in order. A busy promo is used until the last minute."""
    count = int((end - begin) / _STEP) + 1
    steps = [begin + _STEP * step for step in range(count)]
    noise = {step.date(): random.uniform(0.8, 1.2) for step in steps}
    sums = [*accumulate(_weight(step, begin) * noise[step.date()] for step in steps)]
    length = min(_STEP, end - begin)
    chosen = random.choices(steps, cum_weights=sums, k=number)
    times = sorted(min(step + length * random.random(), _just_before(random, end)) for step in chosen)
    if number >= _BUSY:
        times[-1] = max(times[-1], end - timedelta(seconds=random.uniform(5, 45)))
    return times


def after(random: Random, time: datetime, *, hours: float) -> datetime:
    """Return a time after another one, on average by some hours."""
    return time + timedelta(minutes=2, hours=random.expovariate(1 / hours))


def pick_weighted(random: Random, weights: Sequence[float], number: int) -> list[int]:
    """Return distinct positions, in random order; a larger weight is more probable."""
    keys = sorted((random.expovariate(1.0) / weight, place) for place, weight in enumerate(weights))
    chosen = [place for _, place in keys[:number]]
    random.shuffle(chosen)
    return chosen


def _just_before(random: Random, end: datetime) -> datetime:
    return end - timedelta(seconds=random.uniform(1, 600))


def _weight(time: datetime, begin: datetime) -> float:
    days = (time - begin).total_seconds() / _DAY_S
    trend = 1 + _GROWTH_PER_DAY * days + _LAUNCH * 2 ** (-days / _LAUNCH_DAYS)
    return _HOURS[time.hour] * _DAYS[time.weekday()] * trend
