"""Input limits: an invalid value is cut down before it is validated, and stays invalid."""

from math import inf
from typing import Any

import jsonschema_rs
import pytest

from promo_api.contract.input_limits import max_structural_chars, prune
from tests.cases import all_cases


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


_WORD = {"type": "string", "maxLength": 5}
_WORDS = {"type": "array", "maxItems": 3, "items": _WORD}
_THING = {**_object(name=_WORD, words=_WORDS, inner=_object(n={"type": ["integer", "null"]})), "required": ["name"]}
_OPEN = {"type": "object", "required": ["kind"], "properties": {"name": _WORD}}
_MANY = {f"m{n}": n for n in range(1000)}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (_THING, {"name": "a", "words": ["b", "c", "d"], "inner": {"n": None}}),
        (_THING, {"name": "a", "inner": {"n": 1}}),
        ({"type": "array", "items": {"type": "integer"}}, list(range(1000))),
        ({"type": "string"}, "x" * 5000),
        ({"enum": [_MANY]}, _MANY),
        ({"anyOf": [_WORD, {"type": "array"}]}, list(range(1000))),
        ({"type": "object", "minProperties": 1000}, _MANY),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, _MANY),
        ({}, [1, [2]]),
    ],
)
def test_valid_value_is_not_cut(schema: dict[str, Any], value: Any) -> None:
    """A valid value is not cut. Nothing is cut if a keyword needs the whole value."""
    assert prune(value, schema) == value
    assert jsonschema_rs.Draft4Validator(schema).is_valid(value)


def test_undeclared_members_are_cut_off() -> None:
    """Undeclared members of an open object are cut off; a missing required member stays a violation."""
    assert prune({"kind": [1] * 9, "name": "a", **_MANY}, _OPEN) == {"kind": [1] * 9, "name": "a"}
    assert prune(_MANY, _OPEN) == {}


@pytest.mark.parametrize(
    ("schema", "value", "most"),
    [
        (_THING, {"name": "a", **_MANY}, 30),
        (_THING, {"name": list(range(1000))}, 2),
        (_THING, {"name": "a", "words": ["b"] * 1000}, 7),
        (_THING, {"name": "a", "words": [_MANY] * 4}, 7),
        (_THING, {"name": "a", "inner": {"n": [[[1]]]}}, 4),
        (_THING, [_MANY] * 1000, 1),
        (_WORDS, _MANY, 1),
        (_WORD, "x" * 1_000_000, 1),
    ],
)
def test_invalid_value_is_cut_and_stays_invalid(schema: dict[str, Any], value: Any, most: int) -> None:
    """A large invalid value is cut down, and keeps its kinds of violations."""
    pruned = prune(value, schema)
    validator = jsonschema_rs.Draft4Validator(schema)
    assert (
        {error.kind.name for error in validator.iter_errors(pruned)}
        == {error.kind.name for error in validator.iter_errors(value)}
        != set()
    )
    assert _count(pruned) <= most
    assert len(str(pruned)) < 2000


def _count(value: Any) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_count, inside))


@all_cases(
    ("schema", "most"),
    [
        ({"type": "integer"}, 0),
        ({"type": "string", "format": "date"}, 0),
        ({"type": "string", "format": "uri", "maxLength": 9}, 9),
        ({"type": "string"}, inf),
        ({}, inf),
        ({"type": "string", "enum": ["[", "[["]}, 2),
        ({"type": "array", "items": {"type": "integer"}}, 1),
        (_WORDS, 16),
        ({"type": "array", "items": _WORD}, inf),
        (_THING, 1 + 6 + 17 + 3),
        (_OPEN, inf),
        ({"oneOf": [_WORDS, _THING]}, 27),
    ],
)
def test_max_structural_chars(schema: dict[str, Any], most: float) -> None:
    """The bound counts arrays, objects, members and the characters of strings."""
    assert max_structural_chars(schema) == most
