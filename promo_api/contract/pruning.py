"""Values cut down to little more than their schema allows, so that no sender decides how long a check takes.

The validator converts all that was sent, and makes an error of each thing in it that is wrong: nine seconds for a list
of 900,000 numbers where there should be a few words, and every request of the process waits meanwhile. So it gets what
is needed to tell that a value is wrong, and no more; and what holds far too many lists or members is not even parsed.
"""

from collections.abc import Mapping
from itertools import islice
from math import inf
from typing import Any

# How many members that a schema does not know, and how many characters too many, are left to be told of.
_UNKNOWN_MAX = 20
_SURPLUS_MAX = 1000
# No text of these has a mark.
_FORMATS_WITHOUT_MARKS = {"uuid", "date"}
_FORMAT_CHARACTERS = {"uuid": 36, "date": 10}
# One character as two escapes of six bytes each; a line break and an indentation; a number, true, false or null.
_CHARACTER_BYTES, _SPACE_BYTES, _NUMBER_BYTES = 12, 40, 70
# These judge a value as a whole, so nothing may be taken from it.
_WHOLE = {"allOf", "anyOf", "oneOf", "not", "enum", "minProperties", "maxProperties"}


def prune(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return as much of a value as its schema, one of Draft 4, needs: a wrong value stays wrong, a right one right."""
    if isinstance(value, str):
        return value[: schema["maxLength"] + _SURPLUS_MAX] if "maxLength" in schema else value
    if not isinstance(value, dict | list):
        return value
    if not _may_be("object" if isinstance(value, dict) else "array", schema):
        return type(value)()
    if _WHOLE & schema.keys():
        return value
    return _pruned_object(value, schema) if isinstance(value, dict) else _pruned_list(value, schema)


def _may_be(wanted: str, schema: Mapping[str, Any]) -> bool:
    types = schema.get("type", wanted)
    return wanted in ([types] if isinstance(types, str) else types)


def _pruned_object(value: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    others = schema.get("additionalProperties", True)
    if isinstance(others, Mapping):
        return value
    known = {name: {} for name in schema.get("required", ())} | schema.get("properties", {})
    unknown = () if others else islice((name for name in value if name not in known), _UNKNOWN_MAX)
    return dict.fromkeys(unknown) | {name: prune(value[name], part) for name, part in known.items() if name in value}


def _pruned_list(value: list[Any], schema: Mapping[str, Any]) -> list[Any]:
    items = schema.get("items", {})
    kept = value[: schema["maxItems"] + 1] if "maxItems" in schema else value
    return [prune(item, items) for item in kept]


def bytes_max(schema: Mapping[str, Any]) -> float:
    """Return how many bytes the JSON of a valid value can have, however it is written, without much white space."""
    if "oneOf" in schema:
        return max(map(bytes_max, schema["oneOf"]))
    if "enum" in schema:
        return max(_text_bytes(len(str(value))) for value in schema["enum"])
    kind = schema.get("type", "string")
    if kind == "object":
        members = schema.get("properties", {}).items()
        unknown = inf if schema.get("additionalProperties", True) else 0
        return _SPACE_BYTES + unknown + sum(_text_bytes(len(name)) + bytes_max(each) for name, each in members)
    if kind == "array":
        items: float = schema.get("maxItems", inf)
        return _SPACE_BYTES + bytes_max(schema.get("items", {})) * items
    if kind == "string":
        return _text_bytes(schema.get("maxLength", _FORMAT_CHARACTERS.get(schema.get("format", ""), inf)))
    return _NUMBER_BYTES


def _text_bytes(characters: float) -> float:
    return _SPACE_BYTES + characters * _CHARACTER_BYTES


def marks_max(schema: Mapping[str, Any]) -> float:
    """Return how many of the marks [ { and : the JSON of a right value can have, those in its texts among them."""
    if "oneOf" in schema:
        return max(map(marks_max, schema["oneOf"]))
    if "enum" in schema:
        return max(len(str(value)) for value in schema["enum"])
    kind = schema.get("type")
    if kind == "object":
        members = schema.get("properties", {}).values()
        return inf if schema.get("additionalProperties", True) else 1 + sum(1 + marks_max(each) for each in members)
    if kind == "array":
        each = marks_max(schema.get("items", {}))
        return 1 + (each and each * schema.get("maxItems", inf))
    if kind is None or kind == "string":
        return 0 if schema.get("format") in _FORMATS_WITHOUT_MARKS else schema.get("maxLength", inf)
    return 0
