"""Strict JSON, with the position of an error.

orjson silently keeps the last of two members with the same name. Parsed JSON is therefore written again: if no member
was dropped, both have the same number of colons, in strings too. Only otherwise a slower parser looks for the member.
"""

import json
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import orjson

from promo_api.contract.pointers import is_harmless, join
from promo_api.contract.schemas import MAX_VIOLATIONS
from promo_api.errors import InvalidInput, Violation

_BYTE_ORDER_MARKS = (BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE)
# orjson parses deeper values, but does not write them.
_MAX_DEPTH = 254
# A string may have its colons as `\u003a`, which are written as `:`.
_COLON_ESCAPE = b"\\u003"
# A search of a million items would block the event loop.
_MAX_SEARCHED = 50_000


def parse_json(content: bytes) -> Any:
    """Return the value; InvalidInput if it is malformed, nested too deeply, or has a member twice."""
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise _refusal(content, error) from None
    try:
        colons = orjson.dumps(value).count(b":")
    except TypeError:
        raise _too_deep() from None
    if colons != content.count(b":") or _COLON_ESCAPE in content:
        _check_duplicates(content)
    return value


def _refusal(content: bytes, error: orjson.JSONDecodeError) -> InvalidInput:
    """Return the error for content that orjson refuses. Its messages never repeat content."""
    if content.startswith(_BYTE_ORDER_MARKS):
        return _malformed("begins with a byte order mark (line 1, column 1); send UTF-8 without one")
    try:
        content.decode()
    except UnicodeDecodeError as invalid:
        line, column = _position(content[: invalid.start].decode())
        return _malformed(f"is not valid UTF-8 (line {line}, column {column})")
    if error.msg == "depth limit exceeded":
        return _too_deep()
    line, column = error.lineno, error.colno
    if error.msg == "number is infinity when parsed as double":
        return InvalidInput.body("", f"has a number outside the range of a double (line {line}, column {column})")
    return _malformed(f"is not valid JSON (line {line}, column {column}): {error.msg}")


def _position(before: str) -> tuple[int, int]:
    """Return the line and the column after a text."""
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _too_deep() -> InvalidInput:
    return InvalidInput.body("", f"is nested too deeply; at most {_MAX_DEPTH} levels are allowed")


def _malformed(message: str) -> InvalidInput:
    return _invalid_json([Violation("body", "", message)])


def _invalid_json(violations: list[Violation]) -> InvalidInput:
    return InvalidInput("The request body is not valid JSON. See `details`.", violations, code="invalid_json")


class _Object(dict[str, Any]):
    """An object, and the names that it has more than once."""

    repeated: tuple[str, ...] = ()


def _check_duplicates(content: bytes) -> None:
    """Raise InvalidInput if an object has a member twice."""
    found = False

    def make(members: list[tuple[str, Any]]) -> _Object:
        nonlocal found
        value = _Object(members)
        if len(value) < len(members):
            found = True
            value.repeated = tuple(name for name, times in Counter(name for name, _ in members).items() if times > 1)
        return value

    value = json.loads(content, object_pairs_hook=make)
    if found:
        unnamed = Violation("body", "", "has a member that is given more than once")
        raise _invalid_json([*islice(_find_repeated(value), MAX_VIOLATIONS)] or [unnamed])


def _find_repeated(value: Any) -> Iterator[Violation]:
    """Yield violations, the outermost first."""
    containers, searched = [("", value)], 0
    for pointer, container in containers:
        searched += len(container)
        if searched > _MAX_SEARCHED:
            return
        if isinstance(container, _Object):
            yield from (
                Violation("body", join(pointer, name), "must be given once")
                for name in container.repeated
                if is_harmless(name)
            )
        members = container.items() if isinstance(container, _Object) else enumerate(container)
        containers += [
            (join(pointer, step), member)
            for step, member in members
            if isinstance(member, _Object | list) and (isinstance(step, int) or is_harmless(step))
        ]
