"""Compiled schemas. Their validators find at most one violation of each part of a value."""

from collections.abc import Iterator, Mapping
from itertools import groupby, islice
from typing import Any, Protocol

import jsonschema_rs

from promo_api.contract.formats import FORMATS
from promo_api.contract.input_limits import is_cut, prune
from promo_api.contract.messages import message
from promo_api.contract.pointers import join, unknown
from promo_api.errors import Violation

MAX_VIOLATIONS = 20
# Connexion adds `components` to some schemas.
_NOT_DRAFT4 = ("nullable", "example", "components")
# The violations of one value, the most useful first.
_PRECEDENCE = ("enum", "type", "format", "pattern")


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
            return list(islice(self._find(value, location, pointer), MAX_VIOLATIONS))
        except ValueError:
            # The validator refuses deep nesting.
            return [Violation(location, pointer, "is nested too deeply")]

    def _find(self, value: Any, location: str, pointer: str) -> Iterator[Violation]:
        found: set[str] = set()
        for _, errors in groupby(self._validator.iter_errors(value), lambda error: error.instance_path):
            for error in sorted(errors, key=_rank):
                at = pointer
                for step in error.instance_path:
                    at = join(at, step)
                for violation in self._violations_of(error, location, at):
                    if violation.pointer not in found:
                        found.add(violation.pointer)
                        yield violation

    def _violations_of(self, error: jsonschema_rs.ValidationError, location: str, at: str) -> list[Violation]:
        schema: Any = self._schema
        for step in error.schema_path[:-1]:
            schema = schema[step]
        kind: Any = error.kind
        if kind.name == "additionalProperties":
            allowed = schema.get("properties", {})
            return [unknown(location, at, name, kind="member", allowed=allowed) for name in kind.unexpected]
        pointer = join(at, kind.property) if kind.name == "required" else at
        return [Violation(location, pointer, message(kind.name, getattr(kind, "value", None), schema, error.instance))]


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


def _rank(error: Any) -> int:
    """Return the rank of an error among those of one value; 0 is the most useful."""
    keyword: str = error.kind.name
    if keyword == "maxLength" and is_cut(error.instance, error.kind.value):
        return 0
    return _PRECEDENCE.index(keyword) if keyword in _PRECEDENCE else len(_PRECEDENCE)


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
