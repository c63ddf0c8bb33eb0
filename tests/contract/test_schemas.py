"""Schemas: a violation has a message and a pointer, and never repeats the value."""

from typing import Any

import pytest

from promo_api.contract.schemas import compile_schema
from promo_api.errors import Violation
from tests.cases import all_cases

SECRET = "hunter2-Secret"


def _violations(schema: dict[str, Any], value: Any, pointer: str = "") -> list[tuple[str, str]]:
    violations = compile_schema(schema).violations(value, "body", pointer)
    return sorted((violation.pointer, violation.message) for violation in violations)


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


@all_cases(
    ("schema", "value", "message"),
    [
        ({"type": "integer"}, SECRET, "must be an integer"),
        ({"type": "integer"}, True, "must be an integer"),
        ({"type": "integer"}, None, "must be an integer"),
        ({"type": "integer"}, 1.0, "must be an integer, written without a decimal point or an exponent"),
        ({"type": "integer"}, -0.5, "must be an integer, written without a decimal point or an exponent"),
        ({"type": "integer"}, 1e19, "must be an integer of 64 bits"),
        ({"type": "integer", "minimum": 0, "maximum": 3}, 1e19, "must be at most 3"),
        ({"type": "integer", "minimum": 0, "maximum": 3}, -1e19, "must be at least 0"),
        ({"type": "boolean"}, 1, "must be true or false"),
        ({"type": "string"}, 12345, "must be a string"),
        ({"type": "number"}, SECRET, "must be a number"),
        ({"type": "object"}, [], "must be an object"),
        ({"type": "array", "items": {}}, {}, "must be an array"),
        ({"type": "string", "nullable": True}, 1, "must be a string or null"),
        ({"type": "integer", "minimum": 3}, 2, "must be at least 3"),
        ({"type": "integer", "maximum": 3}, 4, "must be at most 3"),
        ({"type": "integer", "maximum": 3}, 10**40, "must be at most 3"),
        ({"type": "number", "minimum": 3, "exclusiveMinimum": True}, 3, "must be greater than 3"),
        ({"type": "number", "maximum": 3, "exclusiveMaximum": True}, 3, "must be less than 3"),
        ({"type": "integer", "multipleOf": 3}, 4, "must be a multiple of 3"),
        ({"type": "string", "minLength": 50}, SECRET, "must have at least 50 characters"),
        ({"type": "string", "minLength": 1}, "", "must have at least 1 character"),
        ({"type": "string", "maxLength": 3}, SECRET, "must have at most 3 characters"),
        ({"type": "string", "enum": ["a"]}, SECRET, "must be a"),
        ({"type": "string", "enum": ["a", "b"]}, SECRET, "must be a or b"),
        ({"type": "string", "enum": ["a", "b", "c"]}, SECRET, "must be a, b or c"),
        ({"type": "string", "nullable": True, "enum": ["a", "b"]}, SECRET, "must be a, b or null"),
        ({"enum": [1, True]}, SECRET, "must be 1 or true"),
        ({"type": "string", "format": "uuid"}, SECRET, "must be a UUID such as 0b6f2d9e-3c1a-4f57-8e0d-2a9b7c4d1e63"),
        ({"type": "string", "format": "date"}, SECRET, "must be a date such as 2025-01-31"),
        ({"type": "string", "format": "email"}, SECRET, "must be an e-mail address such as ann@example.com"),
        ({"type": "string", "format": "ipv4"}, SECRET, "must have the format ipv4"),
        ({"type": "string", "pattern": "^a{2}$"}, SECRET, "must match ^a{2}$"),
        ({"type": "array", "minItems": 2, "items": {}}, [SECRET], "must have at least 2 items"),
        ({"type": "array", "minItems": 1, "items": {}}, [], "must have at least 1 item"),
        ({"type": "array", "maxItems": 0, "items": {}}, [SECRET], "must have at most 0 items"),
        ({"type": "array", "uniqueItems": True}, [SECRET, SECRET], "must not have an item twice"),
        ({"type": "object", "minProperties": 1}, {}, "must have at least 1 member"),
        ({"type": "object", "maxProperties": 0}, {SECRET: 1}, "must have at most 0 members"),
        ({"not": {"type": "string"}}, SECRET, "does not match the schema"),
    ],
)
def test_messages(schema: dict[str, Any], value: Any, message: str) -> None:
    """Each keyword has a message with the rule, which does not repeat the value."""
    assert _violations(schema, value) == [("", message)]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string", "maxLength": 2}, "яя"),
        ({"type": "string", "maxLength": 1}, "\U0001f600"),
        ({"type": "string", "pattern": "^[^\\u0000]*$"}, "a\n"),
        ({"type": "integer", "minimum": 0}, 0),
        ({"type": "string", "format": "int-of-no-standard"}, "x"),
        (_object(a={"type": "string"}), {}),
    ],
)
def test_valid_values(schema: dict[str, Any], value: Any) -> None:
    """Lengths are counted in characters, bounds are inclusive, and unknown formats are ignored."""
    assert _violations(schema, value) == []


@pytest.mark.parametrize("value", ["a\x00b", "\x00"])
def test_pattern_refuses_u0000(value: str) -> None:
    """The pattern of free texts in api.yml refuses U+0000."""
    assert _violations({"type": "string", "pattern": "^[^\\u0000]*$", "x-violation": "no NUL"}, value) == [
        ("", "no NUL")
    ]


def test_end_of_a_pattern_is_the_end_of_the_text() -> None:
    """`$` matches only at the end of the text, as in ECMA 262, and not before a last newline."""
    assert _violations({"type": "string", "pattern": "^a$"}, "a\n") == [("", "must match ^a$")]


def test_nullable_accepts_null() -> None:
    """`nullable` accepts null, also with an enum, and changes nothing else."""
    schema = _object(n={"type": "string", "nullable": True, "maxLength": 1, "enum": ["a"]}, m={"type": "string"})
    assert _violations(schema, {"n": None}) == []
    assert _violations(schema, {"n": "a"}) == []
    assert [pointer for pointer, _ in _violations(schema, {"n": "b"})] == ["/n"]
    assert _violations(schema, {"m": None}) == [("/m", "must be a string")]


def test_nullable_false_refuses_null() -> None:
    """`nullable: false` is the default."""
    assert _violations({"type": "string", "nullable": False}, None) == [("", "must be a string")]


@pytest.mark.parametrize("keyword", ["pattern", "format"])
def test_x_violation_replaces_the_message(keyword: str) -> None:
    """`x-violation` replaces the message about a pattern or a format, at any depth."""
    declared = {"type": "string", "x-violation": "must be an A", keyword: {"pattern": "^A$", "format": "uuid"}[keyword]}
    assert _violations(declared, SECRET) == [("", "must be an A")]
    assert _violations(_object(a={"type": "array", "items": declared}), {"a": ["A", SECRET]})[-1] == (
        "/a/1",
        "must be an A",
    )


def test_x_violation_is_for_pattern_and_format_only() -> None:
    """`x-violation` does not replace the message about a length."""
    violations = _violations({"type": "string", "minLength": 50, "x-violation": "must be an A"}, SECRET)
    assert violations == [("", "must have at least 50 characters")]


X_VIOLATION = [
    {"pattern": "^[a-z]*$", "message": "must have small letters only"},
    {"pattern": "^a", "message": "must begin with a"},
    {"message": "must be a, b, c"},
]


@all_cases(
    ("value", "message"),
    [
        ("B1", "must have small letters only"),
        ("bc", "must begin with a"),
        ("ab", "must be a, b, c"),
        ("", "must begin with a"),
        ("abcabc", "must be a, b, c"),
    ],
)
def test_x_violation_can_have_a_message_for_each_fault(value: str, message: str) -> None:
    """In a list, the first pattern that does not match selects the message; the entry without one is for the rest."""
    schema = {"type": "string", "minLength": 3, "maxLength": 5, "pattern": "^abc$", "x-violation": X_VIOLATION}
    assert _violations(schema, value) == [("", message)]
    by_format = {"type": "string", "format": "date", "x-violation": X_VIOLATION}
    assert _violations(by_format, value) == [("", message)]


@all_cases(
    ("schema", "value", "message"),
    [
        ({"type": "string", "enum": ["a"]}, 1, "must be a"),
        ({"type": "string", "format": "date", "minLength": 3, "pattern": "^a", "x-violation": "no"}, "", "no"),
        ({"type": "string", "format": "date", "minLength": 3}, "", "must be a date such as 2025-01-31"),
        ({"type": "string", "minLength": 3, "pattern": "^a"}, "", "must match ^a"),
        ({"type": "string", "maxLength": 3, "pattern": "^a"}, "bbbbb", "must match ^a"),
        ({"type": "string", "maxLength": 3, "pattern": "^(ab)*$"}, "ab" * 2, "must have at most 3 characters"),
        ({"type": "string", "maxLength": 3, "pattern": "^(ab)*$"}, "ab" * 5000, "must have at most 3 characters"),
        ({"type": "integer", "maximum": 3}, 1e19, "must be at most 3"),
    ],
)
def test_one_violation_of_a_value(schema: dict[str, Any], value: Any, message: str) -> None:
    """A value that breaks several rules has one violation, the most useful one. A text that was cut is too long."""
    assert _violations(schema, value) == [("", message)]
    assert _violations(_object(a={"type": "array", "items": schema}), {"a": [value, value]}) == [
        ("/a/0", message),
        ("/a/1", message),
    ]


def test_pointers_of_missing_and_unknown_members() -> None:
    """The pointer of a missing or unknown member is its own location; allowed members are listed."""
    schema = {**_object(a={}, b={}), "required": ["a", "b"]}
    violations = _violations(schema, {"c": SECRET, "d": SECRET}, "/at")
    assert violations == [
        ("/at/a", "is required"),
        ("/at/b", "is required"),
        ("/at/c", "is not allowed; allowed are a, b"),
        ("/at/d", "is not allowed; allowed are a, b"),
    ]


def test_names_are_escaped_in_pointers() -> None:
    """Pointers follow RFC 6901."""
    assert _violations(_object(**{"a/~b": {"type": "string"}}), {"a/~b": 1}) == [("/a~1~0b", "must be a string")]


@all_cases(
    "name",
    ["x" * 41, "a b", "new\nline", "\x00", "\x1b[31m", "\u202e", "", "a.b", "a1", "Passw0rd!", "\u0430", "a\n"],
)
def test_other_names_are_not_repeated(name: str) -> None:
    """Unknown members whose names could be secrets are one violation of their object."""
    violations = _violations(_object(a={}), {name: 1, "c d": 2, "no-such_NAME": 3})
    assert violations == [
        ("", "has a member that is not allowed; allowed is a"),
        ("/no-such_NAME", "is not allowed; allowed is a"),
    ]


def test_values_are_not_repeated() -> None:
    """No error response repeats a value."""
    schema = _object(
        a={"type": "integer"}, b={"type": "string", "pattern": "^$", "maxLength": 1, "format": "uuid"}, c={"enum": [1]}
    )
    violations = compile_schema(schema).violations({"a": SECRET, "b": SECRET, "c": SECRET}, "body")
    assert len(violations) == 3
    assert all(SECRET not in violation.message + violation.pointer for violation in violations)


@pytest.mark.parametrize("count", [19, 20, 21, 5000])
def test_at_most_20_violations(count: int) -> None:
    """At most twenty violations are returned."""
    schema = {"type": "array", "items": {"type": "integer"}}
    assert len(compile_schema(schema).violations([SECRET] * count, "body")) == min(count, 20)


def test_at_most_20_unknown_members() -> None:
    """The limit of violations applies to the members of one object too."""
    assert len(compile_schema(_object()).violations({"m" * n: 1 for n in range(1, 40)}, "body")) == 20


def test_pointer_begins_with_that_of_the_value() -> None:
    """A pointer begins with that of the value."""
    violations = compile_schema({"type": "array", "items": {"type": "integer"}}).violations(["x"], "query", "/ids")
    assert violations == [Violation("query", "/ids/0", "must be an integer")]


def _alternative(mode: str) -> dict[str, Any]:
    member = {"type": "string", "enum": [mode]}
    return {**_object(**{"mode": member, mode: {"type": "integer"}}), "required": ["mode", mode]}


ALTERNATIVES = {"oneOf": [_alternative("A"), _alternative("B")], "discriminator": {"propertyName": "mode"}}


@all_cases(
    ("value", "expected"),
    [
        ({"mode": "A", "A": 1}, []),
        ({"mode": "B", "B": 1}, []),
        ({"mode": "A", "B": 1}, [("/A", "is required"), ("/B", "is not allowed; allowed are mode, A")]),
        ({"mode": "A", "A": SECRET}, [("/A", "must be an integer")]),
        ({"A": 1}, [("/mode", "is required")]),
        ({"mode": "C"}, [("/mode", "must be A or B")]),
        ({"mode": "a"}, [("/mode", "must be A or B")]),
        ([], [("", "must be an object")]),
        (None, [("", "must be an object")]),
        (SECRET, [("", "must be an object")]),
    ],
)
def test_discriminator_selects_the_schema(value: Any, expected: list[tuple[str, str]]) -> None:
    """With a discriminator, a value is validated against the selected schema only."""
    assert _violations(ALTERNATIVES, value) == expected


@pytest.mark.parametrize("mode", [None, 1, ["A"], {"A": 1}, True])
def test_discriminator_of_another_type(mode: Any) -> None:
    """A discriminator that is not a string is a violation, not an error."""
    assert {pointer for pointer, _ in _violations(ALTERNATIVES, {"mode": mode, "A": 1})} == {"/mode"}


@pytest.mark.parametrize("name", ["example", "components", "nullable"])
def test_member_may_have_the_name_of_a_keyword(name: str) -> None:
    """A member may have the name of a keyword that is not JSON Schema."""
    assert _violations(_object(**{name: {"type": "string"}}), {name: "x"}) == []


@pytest.mark.parametrize(
    "schema",
    [{"type": "strin"}, {"type": 5}, {"minimum": "x"}, {"pattern": "("}, {"properties": []}, {"required": "a"}],
)
def test_invalid_schemas(schema: dict[str, Any]) -> None:
    """An invalid schema is refused."""
    with pytest.raises(ValueError, match=r"."):
        compile_schema(schema)


def _nested(depth: int, *, objects: bool) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value} if objects else [value]
    return value


@all_cases("depth", [100, 256, 800])
@all_cases("objects", [True, False])
@all_cases("schema", [{"type": "string"}, _object(b={}), {"type": "array", "items": {"type": "string"}}])
def test_excessive_nesting(depth: int, objects: bool, schema: dict[str, Any]) -> None:
    """Excessive nesting is a violation."""
    assert 1 <= len(compile_schema(schema).violations(_nested(depth, objects=objects), "body")) <= 20


@pytest.mark.parametrize("depth", [100, 300, 800])
def test_excessive_nesting_in_a_member(depth: int) -> None:
    """Excessive nesting is a violation anywhere in a value."""
    schema = _object(a={"type": "string"}, b={"type": "integer"})
    assert compile_schema(schema).violations({"b": 1, "a": _nested(depth, objects=False)}, "body")
    assert compile_schema(ALTERNATIVES).violations({"mode": "A", "A": _nested(depth, objects=True)}, "body")
