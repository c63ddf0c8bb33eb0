"""Time buckets of a calendar: where hours, days, weeks and months begin in a time zone."""

from calendar import monthrange
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cache
from itertools import islice
from zoneinfo import ZoneInfo, available_timezones

DEFAULT_PERIOD = timedelta(days=30)
_MINUTES_PER_HOUR, _DAYS_PER_WEEK = 60, 7


def find_time_zone(name: str) -> ZoneInfo | None:
    """Return the time zone with an IANA name; None: there is none."""
    return ZoneInfo(name) if name in _zone_names() else None


def list_boundaries(bucket: str, first: date, end: date, zone: tzinfo, *, maximum: int) -> list[datetime] | None:
    """Return the start of each bucket from `first` to before `end`, and the end of the last; None: more than `maximum`.

    The first and the last bucket may be parts. Their length follows the clock: a day with a change of daylight
    saving time has 23 or 25 hours. A day that a time zone has skipped has no bucket.
    """
    starts = _hours(first, end, zone) if bucket == "hour" else _dates(first, end, zone, _NEXT[bucket])
    boundaries = list(islice(starts, maximum + 1))
    return None if len(boundaries) > maximum else [*boundaries, _midnight(end, zone)]


@cache
def _zone_names() -> set[str]:
    return available_timezones()


def _midnight(day: date, zone: tzinfo) -> datetime:
    """Return the first moment of a day."""
    # In UTC and back: a clock that skips midnight shows its next time.
    return datetime.combine(day, time(), zone).astimezone(UTC).astimezone(zone)


def _dates(first: date, end: date, zone: tzinfo, following: Callable[[date], date]) -> Iterator[datetime]:
    day = first
    while day < end:
        start, day = _midnight(day, zone), min(following(day), end)
        if start.astimezone(UTC) < _midnight(day, zone).astimezone(UTC):
            yield start


def _hours(first: date, end: date, zone: tzinfo) -> Iterator[datetime]:
    """Yield when the hour of the clock changes, and when it begins again."""
    moment, last = _midnight(first, zone), _midnight(end, zone).astimezone(UTC)
    shown = None
    while moment.astimezone(UTC) < last:
        if moment.minute == 0 or (moment.date(), moment.hour) != shown:
            yield moment
        shown = moment.date(), moment.hour
        pause = timedelta(minutes=_MINUTES_PER_HOUR - moment.minute)
        moment = (moment.astimezone(UTC) + pause).astimezone(zone)


def _next_day(day: date) -> date:
    return day + timedelta(days=1)


def _next_week(day: date) -> date:
    """Return the next Monday."""
    return day + timedelta(days=_DAYS_PER_WEEK - day.weekday())


def _next_month(day: date) -> date:
    return day + timedelta(days=monthrange(day.year, day.month)[1] - day.day + 1)


_NEXT = {"day": _next_day, "week": _next_week, "month": _next_month}
