"""JSON of a request body: errors have a position, and no member is given twice."""

import json
import random
from typing import Any

import orjson
import pytest

from promo_api.contract.json_parser import _MAX_DEPTH, _MAX_NAMED_BYTES, parse_json
from promo_api.errors import InvalidInput
from tests.cases import all_cases

TWICE = "must be given once"
UNNAMED = "has a member that is given more than once"


def _refusal(content: bytes) -> tuple[str, list[tuple[str, str]]]:
    """Return the code and the violations of invalid content."""
    with pytest.raises(InvalidInput) as caught:
        parse_json(content)
    assert all(violation.location == "body" for violation in caught.value.violations)
    return caught.value.code, [(violation.pointer, violation.message) for violation in caught.value.violations]


@all_cases(
    ("content", "message"),
    [
        (b" \n ", "is not valid JSON (line 1, column 1): input data is empty"),
        (b'{"a":1', "is not valid JSON (line 1, column 7): unexpected end of data"),
        (b'{"a":1}}', "is not valid JSON (line 1, column 8): unexpected content after document"),
        (b'{"a":1,}', "is not valid JSON (line 1, column 7): trailing comma is not allowed"),
        (b"{'a':1}", "is not valid JSON (line 1, column 2): unexpected character, expected a string key"),
        (b'{"a":NaN}', "is not valid JSON (line 1, column 6): unexpected character, expected a JSON value"),
        (b'{"a":01}', "is not valid JSON (line 1, column 6): number with leading zero is not allowed"),
        (b'{"a":"\\ud800"}', "is not valid JSON (line 1, column 7): no low surrogate in string"),
        (
            '{"я":\n "яя", x}'.encode(),
            "is not valid JSON (line 2, column 8): unexpected character, expected a string key",
        ),
        (b'{"a":"\xe9"}', "is not valid UTF-8 (line 1, column 7)"),
        ('{\n"я":\n"яя'.encode() + b'\xff"}', "is not valid UTF-8 (line 3, column 4)"),
        (b'{"a":"\xed\xa0\x80"}', "is not valid UTF-8 (line 1, column 7)"),
        (b"\xef\xbb\xbf{}", "begins with a byte order mark (line 1, column 1); send UTF-8 without one"),
        ("{}".encode("utf-16"), "begins with a byte order mark (line 1, column 1); send UTF-8 without one"),
        ("\ufeff{}".encode("utf-16-be"), "begins with a byte order mark (line 1, column 1); send UTF-8 without one"),
    ],
)
def test_malformed_json(content: bytes, message: str) -> None:
    """The error of malformed JSON has a reason and a position; columns count characters."""
    assert _refusal(content) == ("invalid_json", [("", message)])


@all_cases("number", [b"1e400", b"-1e400", b"1" + b"0" * 400, b"1" * 5000, b"-" + b"9" * 400])
def test_numbers_outside_the_range_of_a_double(number: bytes) -> None:
    """A number that is too large is not called malformed."""
    message = "has a number outside the range of a double (line 1, column 6)"
    assert _refusal(b'{"a":' + number + b"}") == ("invalid_request", [("", message)])


@pytest.mark.parametrize("number", [b"18446744073709551616", b"1e308", b"1e-400", b"-0", b"1" + b"0" * 300])
def test_other_numbers(number: bytes) -> None:
    """Numbers within the range of a double are parsed."""
    assert parse_json(b'{"a":' + number + b"}") == {"a": float(number)}


@all_cases(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
@all_cases("depth", [255, 1024, 1025, 5000])
def test_nesting(opening: bytes, closing: bytes, depth: int) -> None:
    """Nesting is limited."""
    message = f"is nested too deeply; at most {_MAX_DEPTH} levels are allowed"
    assert _refusal(opening * depth + b"1" + closing * depth) == ("invalid_request", [("", message)])
    assert parse_json(opening * _MAX_DEPTH + b"1" + closing * _MAX_DEPTH)


@all_cases(
    ("content", "violations"),
    [
        (r'{"a":1,"a":2}', [("/a", TWICE)]),
        (r'{"a":1,"a":1,"a":1}', [("/a", TWICE)]),
        (r'{"a":1,"b":2,"b":{},"a":3}', [("/a", TWICE), ("/b", TWICE)]),
        (r'{"a":1,"\u0061":2}', [("/a", TWICE)]),
        (r'{"a":{"b":[0,{"c":1,"c":2}]}}', [("/a/b/1/c", TWICE)]),
        (r'[{"a":{"b":1,"b":1}},{"c":1,"c":1}]', [("/1/c", TWICE), ("/0/a/b", TWICE)]),
        (r'{"a":{"b":1,"b":2},"a":3}', [("/a", TWICE)]),
        (r'{"a":1,"a":2,"b":"\u003a"}', [("/a", TWICE)]),
        (r'{"a":":","a":"\u003A\u003a\u003a"}', [("/a", TWICE)]),
        (r'{"a":1,"a":"\\\u003a","b":"\\u003a"}', [("/a", TWICE)]),
        (r'{"a":1,"a":"\\\\u003a\\\\\u003a"}', [("/a", TWICE)]),
        (r'{"\u003a":1,":":2}', [("", UNNAMED)]),
        (r'{"a b":1,"a b":2}', [("", UNNAMED)]),
        (r'{"a b":1,"a b":2,"c":1,"c":2}', [("/c", TWICE)]),
        (r'{"a b":{"c":1,"c":2}}', [("", UNNAMED)]),
        (r'{"":1,"":2}', [("", UNNAMED)]),
    ],
)
def test_repeated_members(content: str, violations: list[tuple[str, str]]) -> None:
    """A member that is given twice is refused at any depth, however its name is written."""
    assert _refusal(content.encode()) == ("invalid_json", violations)


@all_cases(
    "content",
    [
        r'{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}',
        r'{"a":":::","b":"\u003a\u003A","c:":"\\u003a"}',
        r'{"a":"{\"a\":1,\"a\":2}"}',
        r'{"a":1,"A":2,"a ":3,"\u0430":4}',
        r'{"\u003a":1,"\\u003a":2}',
        r'"a:b"',
        r'"\u003a"',
        r"[]",
        r"1",
    ],
)
def test_no_repeated_members(content: str) -> None:
    """Equal names in different objects and colons in strings are no repeated members."""
    assert parse_json(content.encode()) == json.loads(content)


def _random_json(source: random.Random, depth: int = 0) -> tuple[str, bool]:
    """Return JSON, and whether it has a repeated member."""
    kind = source.choice(["text", "number", "object", "object", "array"]) if depth < 4 else "text"
    if kind == "number":
        return str(source.randrange(100)), False
    if kind == "text":
        return _random_text(source), False
    parts = [_random_json(source, depth + 1) for _ in range(source.randrange(4))]
    inside = any(repeated for _, repeated in parts)
    if kind == "array":
        return f"[{','.join(text for text, _ in parts)}]", inside
    names = [_random_text(source) for _ in parts]
    members = ",".join(f"{name}:{text}" for name, (text, _) in zip(names, parts, strict=True))
    return f"{{{members}}}", inside or len({json.loads(name) for name in names}) < len(names)


def _random_text(source: random.Random) -> str:
    characters = [source.choice('ab:"\\{я') for _ in range(source.randrange(3))]
    return "".join(
        ["", *(f"\\u{ord(each):04x}" if source.random() < 0.3 else json.dumps(each)[1:-1] for each in characters)]
    ).join('""')


def test_repeated_members_of_random_json() -> None:
    """Random JSON with colons, quotes and escapes is refused if, and only if, it has a repeated member."""
    source = random.Random(15)  # noqa: S311 repeatable cases
    found = 0
    for _ in range(3000):
        text, repeated = _random_json(source)
        if repeated:
            found += 1
            assert _refusal(text.encode())[0] == "invalid_json", text
        else:
            assert parse_json(text.encode()) == json.loads(text), text
    assert 300 < found < 2700


def test_at_most_20_repeated_members() -> None:
    """At most twenty violations are returned."""
    members = ",".join(f'"{"x" * n}":1,"{"x" * n}":2' for n in range(1, 31))
    assert len(_refusal(f"{{{members}}}".encode())[1]) == 20


def test_members_of_a_large_body_are_not_named() -> None:
    """A large body with a repeated member is refused without a slower parser."""
    content = b'{"a":1,"a":[' + b"1," * _MAX_NAMED_BYTES + b"1]}"
    assert _refusal(content) == ("invalid_json", [("", UNNAMED)])


def test_usual_bodies_are_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body without repeated members is not parsed by the slower parser, even if its texts have colons."""
    monkeypatch.setattr(json, "loads", None)
    body: dict[str, Any] = {
        "url": "https://\\u003a",
        "promo_unique": [f"CODE:{n}" for n in range(5000)],
        "target": {"country": "ru"},
        "t": "a:я",
    }
    assert parse_json(orjson.dumps(body)) == body
    assert parse_json(json.dumps(body, ensure_ascii=True, indent=2).encode()) == body
