"""Answers of the anti-fraud service: which are verdicts, and until when they hold."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import orjson
import pytest
import requests

from promo_api import antifraud_client
from promo_api.antifraud_client import NoAnswer, Verdict
from tests.cases import all_cases


@pytest.mark.parametrize("ok", [True, False])
@pytest.mark.parametrize("more", [{}, {"cache_until": None}, {"reason": "of whatever kind", "score": 5}])
def test_verdict_for_once(ok: bool, more: dict[str, Any]) -> None:
    """Without `cache_until` a verdict counts for this attempt only; members that nobody asked for change nothing."""
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
def test_verdict_that_holds(text: str, instant: datetime) -> None:
    """`cache_until` is a time in UTC; with an offset, if one is given, it is the same instant in UTC."""
    verdict = antifraud_client._verdict(orjson.dumps({"ok": True, "cache_until": text}))
    assert verdict == Verdict(ok=True, holds_until=instant)
    assert verdict.holds_until is not None
    assert verdict.holds_until.utcoffset() == timedelta(0)


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
def test_cache_until_that_is_no_time(until: object) -> None:
    """An answer whose `cache_until` is no time is not of the form of the protocol, whatever its verdict."""
    with pytest.raises(NoAnswer, match="cache_until is no time"):
        antifraud_client._verdict(orjson.dumps({"ok": True, "cache_until": until}))


@pytest.mark.parametrize("until", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_cache_until_beyond_all_time(until: str) -> None:
    """A time that has no equal in UTC is no time: no answer, and no failure of ours."""
    with pytest.raises(NoAnswer, match="cache_until is no time"):
        antifraud_client._verdict(orjson.dumps({"ok": True, "cache_until": until}))


@pytest.mark.parametrize("ok", ["true", "yes", 1, 0, None, [], {}, [True]])
def test_ok_of_another_type(ok: object) -> None:
    """Only true and false are verdicts."""
    with pytest.raises(NoAnswer, match="no verdict"):
        antifraud_client._verdict(orjson.dumps({"ok": ok}))


@pytest.mark.parametrize("body", [b"[]", b"true", b"null", b"1", b'"ok"', b"{}", b'{"OK":true}', b'[{"ok":true}]'])
def test_json_without_a_verdict(body: bytes) -> None:
    """JSON of another form is no verdict."""
    with pytest.raises(NoAnswer, match="no verdict"):
        antifraud_client._verdict(body)


@pytest.mark.parametrize(
    "body", [b"", b" ", b"ok", b'{"ok":true', b"\xff", b"<html>", b'{"ok":True}', b"[" * 60_000, b"\xef\xbb\xbf{}"]
)
def test_no_json(body: bytes) -> None:
    """What is no JSON is no answer."""
    with pytest.raises(NoAnswer, match="no JSON"):
        antifraud_client._verdict(body)


class _Response:
    """An answer that comes in parts."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = parts

    def iter_content(self, _size: int) -> Iterator[bytes]:
        """Yield the parts."""
        yield from self._parts


def _read(*parts: bytes) -> bytes:
    return antifraud_client._body(cast("requests.Response", _Response(*parts)))


def test_parts_are_put_together() -> None:
    """An answer may come in parts."""
    assert _read(b'{"ok"', b":", b"true}") == b'{"ok":true}'


@pytest.mark.parametrize(("length", "good"), [(64 * 1024, True), (64 * 1024 + 1, False)])
def test_longest_answer(length: int, good: bool) -> None:
    """An answer has at most 64 KiB."""
    parts = [b"x" * 1024] * (length // 1024) + [b"x" * (length % 1024)]
    if good:
        assert len(_read(*parts)) == length
    else:
        with pytest.raises(NoAnswer, match="too long"):
            _read(*parts)
