"""Compiled schemas, and messages about violations.

A message never repeats the value, which may be a password. `x-violation` of a schema replaces the message about its
`pattern` or `format`. It may be a list of patterns and their messages, because a pattern can have several reasons.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Any, Protocol

import jsonschema_rs

from promo_api.contract.formats import FORMATS
from promo_api.contract.input_limits import prune
from promo_api.errors import Violation

MAX_VIOLATIONS = 20
# Connexion adds `components` to some schemas.
_NOT_DRAFT4 = ("nullable", "example", "components")
_MAX_NAME_CHARS = 60
_MESSAGES = {
    "type": "must be of type {value}",
    "enum": "must be one of {value}",
    "format": "must be a valid {value}",
    "pattern": "must match {value}",
    "minLength": "must have at least {value} characters",
    "maxLength": "must have at most {value} characters",
    "minimum": "must be at least {value}",
    "maximum": "must be at most {value}",
    "minItems": "must have at least {value} items",
    "maxItems": "must have at most {value} items",
    "required": "is required",
    "additionalProperties": "is not allowed",
}


class Validator(Protocol):
    """Validates values against a schema."""

    def violations(self, value: Any, location: str, pointer: str = "") -> list[Violation]:
        """Return at most 20 violations."""


def compile_schema(schema: Mapping[str, Any]) -> Validator:
    """Compile a schema without references; ValueError if it is invalid."""
    discriminator = schema.get("discriminator", {}).get("propertyName")
    if discriminator and "oneOf" in schema:
        return _DiscriminatedSchema(discriminator, schema["oneOf"])
    return _Schema(schema)


class _Schema:
    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = _to_draft4(schema)
        self._validator = jsonschema_rs.Draft4Validator(self._schema, formats=FORMATS, validate_formats=True)

    def violations(self, value: Any, location: str, pointer: str = "") -> list[Violation]:
        value = prune(value, self._schema)
        try:
            if self._validator.is_valid(value):
                return []
            return list(islice(_without_repetitions(self._find(value, location, pointer)), MAX_VIOLATIONS))
        except ValueError:
            # The validator refuses deep nesting and huge numbers.
            return [Violation(location, pointer, "is nested too deeply or contains a number that is too large")]

    def _find(self, value: Any, location: str, pointer: str) -> Iterator[Violation]:
        for error in self._validator.iter_errors(value):
            at = pointer + "".join(f"/{_escape(step)}" for step in error.instance_path)
            for name in _members(error.kind):
                yield Violation(location, at if name is None else f"{at}/{_escape(name)}", self._message(error))

    def _message(self, error: jsonschema_rs.ValidationError) -> str:
        keyword = error.kind.name
        if keyword in ("pattern", "format"):
            schema: Any = self._schema
            for step in error.schema_path[:-1]:
                schema = schema[step]
            if "x-violation" in schema:
                return _select_message(schema["x-violation"], keyword, str(error.instance))
        allowed = getattr(error.kind, "value", None)
        if isinstance(allowed, list):
            allowed = " or ".join(map(str, allowed))
        return _MESSAGES.get(keyword, "does not match the schema").format(value=allowed)


class _DiscriminatedSchema:
    """Alternative schemas; one member selects the schema, so that only its violations are returned."""

    def __init__(self, member: str, schemas: list[Mapping[str, Any]]) -> None:
        self._member = member
        self._schemas = {value: _Schema(schema) for schema in schemas for value in schema["properties"][member]["enum"]}
        values = {"type": "string", "enum": sorted(self._schemas)}
        self._selector = _Schema({"type": "object", "required": [member], "properties": {member: values}})

    def violations(self, value: Any, location: str, pointer: str = "") -> list[Violation]:
        return self._selector.violations(value, location, pointer) or self._schemas[value[self._member]].violations(
            value, location, pointer
        )


def _select_message(declared: str | list[Mapping[str, str]], keyword: str, text: str) -> str:
    """Return the message of `x-violation` for a text: in a list, of the first pattern that it does not match."""
    if isinstance(declared, str):
        return declared
    patterns = [entry for entry in declared if keyword == "pattern" and "pattern" in entry]
    failed = [entry for entry in patterns if not _compile_pattern(entry["pattern"]).is_valid(text)]
    return [*failed, *(entry for entry in declared if "pattern" not in entry)][0]["message"]


@cache
def _compile_pattern(pattern: str) -> jsonschema_rs.Draft4Validator:
    return jsonschema_rs.Draft4Validator({"pattern": pattern})


def _without_repetitions(violations: Iterable[Violation]) -> Iterator[Violation]:
    """Drop the second of two equal violations, as of a `pattern` and a `format` with one message."""
    seen: set[Violation] = set()
    for violation in violations:
        if violation not in seen:
            yield violation
        seen.add(violation)


def _members(kind: Any) -> list[str | None]:
    """Return the members that an error is about; None: the object itself."""
    if kind.name == "required":
        return [kind.property]
    if kind.name == "additionalProperties":
        return [name if len(name) <= _MAX_NAME_CHARS and name.isprintable() else None for name in kind.unexpected]
    return [None]


def _escape(step: str | int) -> str:
    return str(step).replace("~", "~0").replace("/", "~1")


def _to_draft4(schema: Any) -> Any:
    """Translate OpenAPI 3.0 to Draft 4: `nullable` matters."""
    if not isinstance(schema, Mapping):
        return schema
    translated = {
        keyword: _translate(keyword, value) for keyword, value in schema.items() if keyword not in _NOT_DRAFT4
    }
    if schema.get("nullable") is True:
        translated["type"] = [translated["type"], "null"]
        if "enum" in translated:
            translated["enum"] = [*translated["enum"], None]
    return translated


def _translate(keyword: str, value: Any) -> Any:
    if keyword == "properties" and isinstance(value, Mapping):
        return {name: _to_draft4(schema) for name, schema in value.items()}
    if keyword in ("allOf", "anyOf", "oneOf"):
        return [_to_draft4(schema) for schema in value]
    return _to_draft4(value) if keyword in ("items", "not", "additionalProperties") else value
