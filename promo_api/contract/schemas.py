"""Schemas of api.yml, compiled once, and what is wrong with a value.

A message says what must hold and never what was sent, since that may be a password. A schema may bring its own words
for that, as `x-violation`, where a pattern would tell people nothing.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Protocol

import jsonschema_rs

from promo_api.contract.formats import FORMATS
from promo_api.contract.pruning import prune
from promo_api.errors import Violation

VIOLATIONS_MAX = 20
# Connexion hangs the whole components section into the schemas that it hands out.
_NOT_DRAFT4 = ("nullable", "example", "components")
_NAME_MAX_CHARACTERS = 60
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
    "additionalProperties": "is not known here",
}


class Checker(Protocol):
    """Tells what is wrong with a value."""

    def violations(self, value: Any, place: str, pointer: str = "") -> list[Violation]:
        """Return what is wrong with a value that stands at `pointer` in a place of the request; at most 20 things."""


def compile_schema(schema: Mapping[str, Any]) -> Checker:
    """Compile a schema whose references are resolved.

    Raises:
        ValueError: it is no schema.
    """
    discriminator = schema.get("discriminator", {}).get("propertyName")
    if discriminator and "oneOf" in schema:
        return _Alternatives(discriminator, schema["oneOf"])
    return _Schema(schema)


class _Schema:
    """One schema."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = _draft4(schema)
        self._validator = jsonschema_rs.Draft4Validator(self._schema, formats=FORMATS, validate_formats=True)

    def violations(self, value: Any, place: str, pointer: str = "") -> list[Violation]:
        value = prune(value, self._schema)
        try:
            if self._validator.is_valid(value):
                return []
            return list(islice(self._found(value, place, pointer), VIOLATIONS_MAX))
        except ValueError:
            # The validator does not follow a value into the depths that some senders dig.
            return [Violation(place, pointer, "is nested too deeply, or holds a number that is too large")]

    def _found(self, value: Any, place: str, pointer: str) -> Iterator[Violation]:
        for error in self._validator.iter_errors(value):
            at = pointer + "".join(f"/{_escaped(step)}" for step in error.instance_path)
            for name in _members(error.kind):
                yield Violation(place, at if name is None else f"{at}/{_escaped(name)}", self._message(error))

    def _message(self, error: jsonschema_rs.ValidationError) -> str:
        keyword = error.kind.name
        own_words = self._at(error.schema_path[:-1]).get("x-violation")
        if own_words and keyword in ("pattern", "format"):
            return str(own_words)
        wanted = getattr(error.kind, "value", None)
        if isinstance(wanted, list):
            wanted = " or ".join(map(str, wanted))
        return _MESSAGES.get(keyword, "does not fit its schema").format(value=wanted)

    def _at(self, path: list[str | int]) -> Any:
        schema: Any = self._schema
        for step in path:
            schema = schema[step]
        return schema


class _Alternatives:
    """Closed schemas that are told apart by the value of one member, so that only the one that is meant speaks."""

    def __init__(self, member: str, schemas: list[Mapping[str, Any]]) -> None:
        self._member = member
        self._schemas = {value: _Schema(schema) for schema in schemas for value in schema["properties"][member]["enum"]}
        names = sorted(self._schemas)
        self._chooser = _Schema(
            {"type": "object", "required": [member], "properties": {member: {"type": "string", "enum": names}}}
        )

    def violations(self, value: Any, place: str, pointer: str = "") -> list[Violation]:
        return self._chooser.violations(value, place, pointer) or self._schemas[value[self._member]].violations(
            value, place, pointer
        )


def _members(kind: Any) -> list[str | None]:
    """Return the members that an error of the object around them is about; None: the error is about the value
    itself.
    """
    if kind.name == "required":
        return [kind.property]
    if kind.name == "additionalProperties":
        return [name if len(name) <= _NAME_MAX_CHARACTERS and name.isprintable() else None for name in kind.unexpected]
    return [None]


def _escaped(step: str | int) -> str:
    return str(step).replace("~", "~0").replace("/", "~1")


def _draft4(schema: Any) -> Any:
    """Translate what OpenAPI 3.0 says in its own way: `nullable`."""
    if not isinstance(schema, Mapping):
        return schema
    translated = {
        keyword: _translated(keyword, value) for keyword, value in schema.items() if keyword not in _NOT_DRAFT4
    }
    if schema.get("nullable") is True:
        translated["type"] = [translated["type"], "null"]
        if "enum" in translated:
            translated["enum"] = [*translated["enum"], None]
    return translated


def _translated(keyword: str, value: Any) -> Any:
    if keyword == "properties" and isinstance(value, Mapping):
        return {name: _draft4(schema) for name, schema in value.items()}
    if keyword in ("allOf", "anyOf", "oneOf"):
        return [_draft4(schema) for schema in value]
    return _draft4(value) if keyword in ("items", "not", "additionalProperties") else value
