"""The runtime: the business day, and opening without connections."""

from dataclasses import fields
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, cast

import pytest

from promo_api.config.settings import Settings
from promo_api.runtime import Runtime, utc_now

NOTHING = cast("Any", None)


def _today(now: datetime) -> date:
    others = dict.fromkeys((opened.name for opened in fields(Runtime)), NOTHING)
    return Runtime(**others | {"clock": lambda: now}).today()


@pytest.mark.parametrize(
    ("now", "today"),
    [
        (datetime(2025, 1, 9, 20, 59, 59, 999999, UTC), date(2025, 1, 9)),
        (datetime(2025, 1, 9, 21, 0, 0, 0, UTC), date(2025, 1, 10)),
        (datetime(2025, 1, 10, 0, 0, 0, 0, UTC), date(2025, 1, 10)),
        (datetime(2025, 1, 10, 20, 59, 59, 999999, UTC), date(2025, 1, 10)),
        (datetime(2024, 12, 31, 21, 0, 0, 0, UTC), date(2025, 1, 1)),
        (datetime(2024, 2, 28, 21, 0, 0, 0, UTC), date(2024, 2, 29)),
        (datetime(2025, 3, 30, 1, 30, 0, 0, UTC), date(2025, 3, 30)),
        (datetime(2025, 7, 1, 21, 0, 0, 0, UTC), date(2025, 7, 2)),
        (datetime(2025, 1, 9, 23, 59, 0, 0, timezone(timedelta(hours=3))), date(2025, 1, 9)),
        (datetime(2025, 1, 9, 10, 0, 0, 0, timezone(timedelta(hours=-11))), date(2025, 1, 10)),
        (datetime(2025, 1, 10, 10, 59, 0, 0, timezone(timedelta(hours=14))), date(2025, 1, 9)),
    ],
)
def test_business_day(now: datetime, today: date) -> None:
    """The business day changes at 21:00 UTC all year, in any time zone of the clock."""
    assert _today(now) == today


def test_clock_is_utc() -> None:
    """The clock returns times in UTC."""
    assert utc_now().utcoffset() == timedelta(0)


def test_opened_without_servers() -> None:
    """A runtime opens and closes without connecting to a server, so it can be opened before a fork."""
    settings = Settings(
        antifraud_address="http://127.0.0.1:1", secret_key="x" * 32, postgres_port=1, argon2_memory_kib=8
    )
    runtime = Runtime.open(settings)
    assert runtime.settings is settings
    assert runtime.clock is utc_now
    runtime.close()
    runtime.close()
