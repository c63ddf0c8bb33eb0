"""Limits of the size of a request, from its schema.

The validator makes an error for each wrong part: 900,000 numbers block the event loop for nine seconds.
"""

from collections.abc import Mapping
from itertools import islice
from math import inf
from typing import Any

# Pruning leaves some excess, so that a wrong value stays wrong. Little, because errors of 5,000 long codes take time.
_MAX_UNKNOWN = 20
_MAX_EXCESS_CHARS = 20
_FORMAT_CHARS = {"uuid": 36, "date": 10}
# A character as two escapes; a line break with indentation; a number.
_CHAR_BYTES, _SPACE_BYTES, _NUMBER_BYTES = 12, 40, 70
# These keywords need the whole value.
_WHOLE = {"allOf", "anyOf", "oneOf", "not", "enum", "minProperties", "maxProperties"}


def prune(value: Any, schema: Mapping[str, Any]) -> Any:
    """Cut a value down to what its schema needs, without changing whether it is valid."""
    if isinstance(value, str):
        return value[: schema["maxLength"] + _MAX_EXCESS_CHARS] if "maxLength" in schema else value
    if not isinstance(value, dict | list):
        return value
    if not _may_be("object" if isinstance(value, dict) else "array", schema):
        return type(value)()
    if _WHOLE & schema.keys():
        return value
    return _prune_object(value, schema) if isinstance(value, dict) else _prune_list(value, schema)


def is_cut(text: str, max_length: int) -> bool:
    """Return whether pruning has cut a text, so that its end is unknown."""
    return len(text) >= max_length + _MAX_EXCESS_CHARS


def _may_be(wanted: str, schema: Mapping[str, Any]) -> bool:
    types = schema.get("type", wanted)
    return wanted in ([types] if isinstance(types, str) else types)


def _prune_object(value: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    others = schema.get("additionalProperties", True)
    if isinstance(others, Mapping):
        return value
    known = {name: {} for name in schema.get("required", ())} | schema.get("properties", {})
    unknown = () if others else islice((name for name in value if name not in known), _MAX_UNKNOWN)
    return dict.fromkeys(unknown) | {name: prune(value[name], part) for name, part in known.items() if name in value}


def _prune_list(value: list[Any], schema: Mapping[str, Any]) -> list[Any]:
    items = schema.get("items", {})
    items_left = value[: schema["maxItems"] + 1] if "maxItems" in schema else value
    return [prune(item, items) for item in items_left]


def max_bytes(schema: Mapping[str, Any]) -> float:
    """Return the size of the largest valid JSON, with moderate white space."""
    if "oneOf" in schema:
        return max(map(max_bytes, schema["oneOf"]))
    if "enum" in schema:
        return max(_text_bytes(len(str(value))) for value in schema["enum"])
    kind = schema.get("type", "string")
    if kind == "object":
        members = schema.get("properties", {}).items()
        unknown = inf if schema.get("additionalProperties", True) else 0
        return _SPACE_BYTES + unknown + sum(_text_bytes(len(name)) + max_bytes(each) for name, each in members)
    if kind == "array":
        items: float = schema.get("maxItems", inf)
        return _SPACE_BYTES + max_bytes(schema.get("items", {})) * items
    if kind == "string":
        return _text_bytes(schema.get("maxLength", _FORMAT_CHARS.get(schema.get("format", ""), inf)))
    return _NUMBER_BYTES


def _text_bytes(chars: float) -> float:
    return _SPACE_BYTES + chars * _CHAR_BYTES


def max_structural_chars(schema: Mapping[str, Any]) -> float:
    """Return the largest number of `[`, `{` and `:` in valid JSON, including its strings."""
    if "oneOf" in schema:
        return max(map(max_structural_chars, schema["oneOf"]))
    if "enum" in schema:
        return max(len(str(value)) for value in schema["enum"])
    kind = schema.get("type")
    if kind == "object":
        members = schema.get("properties", {}).values()
        unknown = inf if schema.get("additionalProperties", True) else 0
        return 1 + unknown + sum(1 + max_structural_chars(each) for each in members)
    if kind == "array":
        each = max_structural_chars(schema.get("items", {}))
        return 1 + (each and each * schema.get("maxItems", inf))
    if kind is None or kind == "string":
        return 0 if schema.get("format") in _FORMAT_CHARS else schema.get("maxLength", inf)
    return 0
