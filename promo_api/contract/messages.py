"""Messages about violations of a schema: the fault, then the rule.

A message never repeats the value, which may be a password. `x-violation` of a schema replaces the message about its
`pattern` or `format`. If it is a list, the first entry whose `pattern` does not match has the message; an entry without
`pattern` is for everything else.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import jsonschema_rs

_MESSAGES = {
    "pattern": "must match {value}",
    "minLength": "must have at least {value} character{s}",
    "maxLength": "must have at most {value} character{s}",
    "minimum": "must be at least {value}",
    "maximum": "must be at most {value}",
    "exclusiveMinimum": "must be greater than {value}",
    "exclusiveMaximum": "must be less than {value}",
    "multipleOf": "must be a multiple of {value}",
    "minItems": "must have at least {value} item{s}",
    "maxItems": "must have at most {value} item{s}",
    "uniqueItems": "must not have an item twice",
    "minProperties": "must have at least {value} member{s}",
    "maxProperties": "must have at most {value} member{s}",
    "required": "is required",
}
_TYPES = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
}
_FORMATS = {
    "uuid": "must be a UUID such as 0b6f2d9e-3c1a-4f57-8e0d-2a9b7c4d1e63",
    "date": "must be a date such as 2025-01-31",
    "date-time": "must be a date and a time with an offset, such as 2025-01-31T12:30:00+03:00",
    "email": "must be an e-mail address such as ann@example.com",
    "uri": "must be a URI such as https://example.com/picture.png",
}
# orjson parses larger integers as floats.
_LARGE = 2.0**63


def message(keyword: str, allowed: Any, schema: Mapping[str, Any], value: Any) -> str:
    """Return the message about a value that violates a keyword of its schema.

    Args:
        keyword: the name of the keyword.
        allowed: what the schema says about it.
        schema: the whole schema of the value.
        value: never repeated.
    """
    if keyword in ("pattern", "format") and "x-violation" in schema:
        return _select_message(schema["x-violation"], value)
    if keyword == "type":
        return _type_message(allowed, schema, value)
    if keyword == "enum":
        return f"must be {_alternatives([each if isinstance(each, str) else json.dumps(each) for each in allowed])}"
    if keyword == "format":
        return _FORMATS.get(allowed, f"must have the format {allowed}")
    return _MESSAGES.get(keyword, "does not match the schema").format(value=allowed, s="" if allowed == 1 else "s")


def _type_message(types: Sequence[str], schema: Mapping[str, Any], value: Any) -> str:
    if isinstance(value, float) and "integer" in types:
        limit = "maximum" if value > 0 else "minimum"
        if abs(value) < _LARGE:
            return "must be an integer, written without a decimal point or an exponent"
        return _MESSAGES[limit].format(value=schema[limit]) if limit in schema else "must be an integer of 64 bits"
    return f"must be {_alternatives([name for kind, name in _TYPES.items() if kind in types])}"


def _alternatives(texts: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))


def _select_message(declared: str | Sequence[Mapping[str, str]], text: str) -> str:
    """Return the message of `x-violation` for a text."""
    if isinstance(declared, str):
        return declared
    failed = (entry for entry in declared if "pattern" not in entry or not _compiled(entry["pattern"]).is_valid(text))
    return next(failed, declared[-1])["message"]


@cache
def _compiled(pattern: str) -> jsonschema_rs.Draft4Validator:
    return jsonschema_rs.Draft4Validator({"pattern": pattern})
