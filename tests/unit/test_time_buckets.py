"""Time buckets: the boundaries of hours, days, weeks and months in time zones."""

from datetime import date
from zoneinfo import ZoneInfo

import pytest

from promo_api.time_buckets import find_time_zone, list_boundaries


def _starts(bucket: str, first: str, end: str, zone: str) -> list[str]:
    boundaries = list_boundaries(bucket, date.fromisoformat(first), date.fromisoformat(end), ZoneInfo(zone), maximum=99)
    assert boundaries is not None
    return [boundary.isoformat() for boundary in boundaries]


def test_known_names() -> None:
    """Time zones have names of the IANA database, and nothing else opens a file."""
    for name in ("Etc/GMT-3", "Europe/Berlin", "Asia/Kathmandu", "UTC"):
        assert find_time_zone(name) is not None
    for name in ("Mars/Base", "../../etc/passwd", "/etc/passwd", "posixrules", "America", "+03:00", "europe/berlin "):
        assert find_time_zone(name) is None


def test_cut_weeks_and_months() -> None:
    """Weeks begin on Monday and months on the 1st; the first and the last bucket are cut."""
    assert _starts("week", "2026-01-01", "2026-01-14", "UTC") == [
        f"2026-01-{day}T00:00:00+00:00" for day in ("01", "05", "12", "14")
    ]
    assert _starts("month", "2025-12-15", "2026-02-02", "Asia/Kathmandu") == [
        f"{day}T00:00:00+05:45" for day in ("2025-12-15", "2026-01-01", "2026-02-01", "2026-02-02")
    ]
    assert _starts("month", "2999-12-30", "2999-12-31", "UTC") == [
        f"2999-12-{day}T00:00:00+00:00" for day in ("30", "31")
    ]


def test_days_of_23_and_25_hours() -> None:
    """A day in which daylight saving time begins has 23 hours, and the hour that happens twice has two buckets."""
    spring = _starts("hour", "2026-03-29", "2026-03-30", "Europe/Berlin")
    assert (len(spring) - 1, spring[1:4]) == (
        23,
        ["2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"],
    )
    autumn = _starts("hour", "2026-10-25", "2026-10-26", "Europe/Berlin")
    assert (len(autumn) - 1, autumn[2:4]) == (25, ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"])
    assert _starts("day", "2026-10-25", "2026-10-26", "Europe/Berlin") == [
        "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00",
    ]  # fmt: skip


def test_change_by_half_an_hour() -> None:
    """Hours of the clock stay hours where daylight saving time is half an hour."""
    spring = _starts("hour", "2026-10-04", "2026-10-05", "Australia/Lord_Howe")
    assert (len(spring) - 1, spring[1:4]) == (
        24,
        ["2026-10-04T01:00:00+10:30", "2026-10-04T02:30:00+11:00", "2026-10-04T03:00:00+11:00"],
    )
    autumn = _starts("hour", "2026-04-05", "2026-04-06", "Australia/Lord_Howe")
    assert (len(autumn) - 1, autumn[1:3]) == (24, ["2026-04-05T01:00:00+11:00", "2026-04-05T02:00:00+10:30"])


@pytest.mark.parametrize("bucket", ["hour", "day"])
def test_skipped_midnight_and_day(bucket: str) -> None:
    """A day without midnight begins with its first hour, and a day that was skipped has no bucket."""
    assert _starts(bucket, "2018-11-04", "2018-11-05", "America/Sao_Paulo")[0] == "2018-11-04T01:00:00-02:00"
    days = {start[:10] for start in _starts(bucket, "2011-12-29", "2012-01-01", "Pacific/Apia")}
    assert days == {"2011-12-29", "2011-12-31", "2012-01-01"}


def test_maximum() -> None:
    """More buckets than the maximum are refused, without computing them."""
    first, end = date(2000, 1, 1), date(2999, 12, 31)
    for bucket in ("hour", "day", "week", "month"):
        assert list_boundaries(bucket, first, end, ZoneInfo("UTC"), maximum=1000) is None
    boundaries = list_boundaries("day", first, date(2002, 9, 27), ZoneInfo("UTC"), maximum=1000)
    assert boundaries is not None
    assert len(boundaries) == 1001
