"""Responses of the anti-fraud service: which are verdicts, and how long they may be cached."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from promo_api.antifraud import client as antifraud_client
from promo_api.antifraud.client import NoVerdict, Verdict
from tests.cases import all_cases


@pytest.mark.parametrize("ok", [True, False])
@pytest.mark.parametrize("more", [{}, {"cache_until": None}, {"reason": "any text", "score": 5}])
def test_verdict_for_one_attempt(ok: bool, more: dict[str, Any]) -> None:
    """Without `cache_until` a verdict is for one attempt only. Unknown members are ignored."""
    assert antifraud_client._verdict(orjson.dumps({"ok": ok, **more})) == Verdict(ok, None)


@all_cases(
    ("text", "instant"),
    [
        ("2025-01-16T00:17:57.567", datetime(2025, 1, 16, 0, 17, 57, 567000, UTC)),
        ("2025-01-16T00:17:57", datetime(2025, 1, 16, 0, 17, 57, 0, UTC)),
        ("2025-01-16T00:17:57.567891", datetime(2025, 1, 16, 0, 17, 57, 567891, UTC)),
        ("2025-01-16T00:17:57.567Z", datetime(2025, 1, 16, 0, 17, 57, 567000, UTC)),
        ("2025-01-16T03:17:57.567+03:00", datetime(2025, 1, 16, 0, 17, 57, 567000, UTC)),
        ("2025-01-15T23:17:57.567-01:00", datetime(2025, 1, 16, 0, 17, 57, 567000, UTC)),
        ("2025-01-16 00:17:57", datetime(2025, 1, 16, 0, 17, 57, 0, UTC)),
        ("2025-01-16", datetime(2025, 1, 16, 0, 0, 0, 0, UTC)),
        ("0001-01-01T00:00:00", datetime(1, 1, 1, 0, 0, 0, 0, UTC)),
        ("9999-12-31T23:59:59.999", datetime(9999, 12, 31, 23, 59, 59, 999000, UTC)),
    ],
)
def test_cached_verdict(text: str, instant: datetime) -> None:
    """`cache_until` without an offset is in UTC; with an offset it is converted to UTC."""
    verdict = antifraud_client._verdict(orjson.dumps({"ok": True, "cache_until": text}))
    assert verdict == Verdict(ok=True, valid_until=instant)
    assert verdict.valid_until is not None
    assert verdict.valid_until.utcoffset() == timedelta(0)


@all_cases(
    "until",
    [
        "",
        "soon",
        "2025-02-30T00:00:00",
        "2025-01-16T25:00:00",
        "0000-01-01T00:00:00",
        "1736986677",
        1736986677,
        0,
        True,
        False,
        1.5,
        [],
        {},
        ["2025-01-16T00:17:57"],
    ],
)
def test_invalid_cache_until(until: object) -> None:
    """A response with an invalid `cache_until` violates the protocol, and its verdict is ignored."""
    with pytest.raises(NoVerdict, match="invalid cache_until"):
        antifraud_client._verdict(orjson.dumps({"ok": True, "cache_until": until}))


@pytest.mark.parametrize("until", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_cache_until_out_of_range(until: str) -> None:
    """A `cache_until` outside the range of UTC times is invalid, and no unexpected error."""
    with pytest.raises(NoVerdict, match="invalid cache_until"):
        antifraud_client._verdict(orjson.dumps({"ok": True, "cache_until": until}))


@pytest.mark.parametrize("ok", ["true", "yes", 1, 0, None, [], {}, [True]])
def test_ok_of_another_type(ok: object) -> None:
    """Only true and false are verdicts."""
    with pytest.raises(NoVerdict, match="no verdict"):
        antifraud_client._verdict(orjson.dumps({"ok": ok}))


@pytest.mark.parametrize("body", [b"[]", b"true", b"null", b"1", b'"ok"', b"{}", b'{"OK":true}', b'[{"ok":true}]'])
def test_json_without_a_verdict(body: bytes) -> None:
    """Other JSON is not a verdict."""
    with pytest.raises(NoVerdict, match="no verdict"):
        antifraud_client._verdict(body)


@pytest.mark.parametrize(
    "body", [b"", b" ", b"ok", b'{"ok":true', b"\xff", b"<html>", b'{"ok":True}', b"[" * 60_000, b"\xef\xbb\xbf{}"]
)
def test_invalid_json(body: bytes) -> None:
    """A body that is not JSON has no verdict."""
    with pytest.raises(NoVerdict, match="invalid JSON"):
        antifraud_client._verdict(body)
