"""Strict JSON, with the position of an error.

orjson silently drops the first of two members with the same name. Parsed JSON is therefore written again: both have the
same number of colons, in strings too, unless a member was dropped. Only then a slower parser finds out which.
"""

import json
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import orjson

from promo_api.contract.pointers import is_harmless, join
from promo_api.contract.schemas import MAX_VIOLATIONS
from promo_api.errors import InvalidInput, Violation

_BYTE_ORDER_MARKS = (BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE)
# orjson parses deeper values, but does not write them.
_MAX_DEPTH = 254
# A string may have its colons escaped. A backslash before it would be another escape.
_ESCAPED_COLON = re.compile(rb"(?<!\\)(?:\\\\)*\\u003[Aa]")
# To name the members of a larger body would block the event loop.
_MAX_NAMED_BYTES = 256 * 1024


def parse_json(content: bytes) -> Any:
    """Return the value; InvalidInput if it is malformed, nested too deeply, or has a member twice."""
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise _refusal(content, error) from None
    try:
        written = orjson.dumps(value)
    except TypeError:
        raise _too_deep() from None
    if written.count(b":") != _count_colons(content):
        raise _invalid_json(_repeated_members(content))
    return value


def _count_colons(content: bytes) -> int:
    escaped = _ESCAPED_COLON.findall(content) if b"\\u003" in content else ()
    return content.count(b":") + len(escaped)


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

    def __init__(self, members: list[tuple[str, Any]]) -> None:
        super().__init__(members)
        self.repeated: list[str] = []
        if len(self) < len(members):
            self.repeated = [name for name, times in Counter(name for name, _ in members).items() if times > 1]


def _repeated_members(content: bytes) -> list[Violation]:
    """Return the violations of content with a member that is given twice."""
    violations: list[Violation] = []
    if len(content) <= _MAX_NAMED_BYTES:
        violations += islice(_find_repeated(json.loads(content, object_pairs_hook=_Object)), MAX_VIOLATIONS)
    return violations or [Violation("body", "", "has a member that is given more than once")]


def _find_repeated(value: Any) -> Iterator[Violation]:
    """Yield the members that may be named, the outermost first."""
    containers = [("", value)]
    for pointer, container in containers:
        members: Iterable[tuple[Any, Any]] = enumerate(container)
        if isinstance(container, _Object):
            names = filter(is_harmless, container.repeated)
            yield from (Violation("body", join(pointer, name), "must be given once") for name in names)
            members = container.items()
        containers += [
            (join(pointer, step), member)
            for step, member in members
            if isinstance(member, _Object | list) and (isinstance(step, int) or is_harmless(step))
        ]
