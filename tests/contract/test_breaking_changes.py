"""The contract keeps what the last release promised: nothing breaks a client unless the major version grows."""

import sys
from collections.abc import Iterable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from promo_api.app import SPECIFICATION
from tests.cases import all_cases
from tests.contract.breaking import Change, breaks, compare
from tests.specification import load

_RELEASED = Path(__file__).with_name("released")
_GONE = object()
# A small contract with one thing of each kind.
_SMALL = """
openapi: 3.0.3
info: {title: Things, version: 1.0.0}
servers: [{url: /api}]
security: [{key: []}]
paths:
  /things:
    parameters: [{$ref: '#/components/parameters/Page'}]
    get:
      operationId: things.list
      tags: [Things]
      parameters:
        - {name: sort, in: query, schema: {type: string, enum: [age, size]}}
      responses:
        '200':
          description: Some.
          headers: {X-Total: {required: true, schema: {type: integer, format: int32}}}
          content: {application/json: {schema: {type: array, maxItems: 9, items: {$ref: '#/components/schemas/Thing'}}}}
        '400': {description: No.}
    post:
      operationId: things.add
      tags: [Things]
      security: [{key: []}, {other: []}]
      requestBody:
        required: true
        content: {application/json: {schema: {$ref: '#/components/schemas/New'}}}
      responses: {'201': {description: Done.}}
components:
  securitySchemes: {key: {type: http, scheme: bearer}, other: {type: apiKey, in: header, name: X-Key}}
  parameters:
    Page: {name: page, in: query, schema: {type: integer, format: int64, minimum: 1, maximum: 99, default: 1}}
  schemas:
    New:
      type: object
      additionalProperties: false
      required: [name]
      properties:
        name: {type: string, minLength: 2, maxLength: 20, pattern: '^[a-z]*$'}
        note: {type: string, nullable: true}
        size: {oneOf: [{type: integer}, {type: string}]}
    Thing:
      discriminator: {propertyName: kind}
      oneOf: [{$ref: '#/components/schemas/Big'}, {$ref: '#/components/schemas/Small'}]
    Big:
      type: object
      additionalProperties: false
      required: [kind, id]
      properties:
        kind: {type: string, enum: [big]}
        id: {type: string, format: uuid}
        colour: {type: string, enum: [red, green], maxLength: 5}
    Small: {type: object, required: [kind], properties: {kind: {type: string, enum: [small]}}}
"""
_LIST, _ADD = "paths /things get", "paths /things post"
_ANSWER, _PAGE = f"{_LIST} responses 200", "components parameters Page"
_NEW, _BIG = "components schemas New", "components schemas Big"

BREAKS = [
    ("servers 0 url", "/v2", "server"),
    ("paths /things", _GONE, "operation"),
    (_LIST, _GONE, "operation"),
    (f"{_LIST} operationId", "things.all", "operationId"),
    (f"{_LIST} tags 0", "Stuff", "first tag"),
    (f"{_ADD} security 1", _GONE, "security"),
    ("security 0", {"other": []}, "security"),
    ("security 0 other", [], "security"),
    ("components securitySchemes key scheme", "basic", "security"),
    (f"{_LIST} parameters 0", _GONE, "parameter"),
    (f"{_PAGE} name", "number", "parameter"),
    (f"{_PAGE} in", "header", "parameter"),
    (f"{_LIST} parameters 0", {"name": "q", "in": "query", "required": True, "schema": {}}, "parameter"),
    (f"{_PAGE} required", True, "required"),
    (f"{_PAGE} explode", False, "explode"),
    (f"{_PAGE} schema type", "string", "type"),
    (f"{_PAGE} schema format", "int32", "format"),
    (f"{_PAGE} schema minimum", 2, "minimum"),
    (f"{_PAGE} schema maximum", 98, "maximum"),
    (f"{_PAGE} schema default", 2, "default"),
    (f"{_PAGE} schema multipleOf", 2, "multipleOf"),
    (f"{_LIST} parameters 0 schema enum", ["age"], "enum"),
    (f"{_LIST} requestBody", {"required": True, "content": {}}, "request"),
    (f"{_ADD} requestBody", _GONE, "request"),
    (f"{_ADD} requestBody content", {"text/plain": {}}, "media type"),
    (f"{_NEW} required", ["name", "note"], "required"),
    (f"{_NEW} properties note", _GONE, "member"),
    (f"{_NEW} properties note nullable", _GONE, "nullable"),
    (f"{_NEW} properties name minLength", 3, "minLength"),
    (f"{_NEW} properties name maxLength", 19, "maxLength"),
    (f"{_NEW} properties name pattern", "^[a-c]*$", "pattern"),
    (f"{_NEW} properties note pattern", "^[a-z]*$", "pattern"),
    (f"{_NEW} properties note format", "uri", "format"),
    (f"{_NEW} properties size oneOf 1", _GONE, "oneOf"),
    (f"{_NEW} allOf", [{"required": ["note"]}], "allOf"),
    (f"{_LIST} responses 400", _GONE, "status"),
    (f"{_LIST} responses 202", {"description": "Later."}, "status"),
    (f"{_ANSWER} headers X-Total", _GONE, "header"),
    (f"{_ANSWER} headers X-Total required", _GONE, "required"),
    (f"{_ANSWER} headers X-Total schema format", "int64", "format"),
    (f"{_ANSWER} content", {"text/plain": {}}, "media type"),
    (f"{_ANSWER} content application/json schema maxItems", 10, "maxItems"),
    (f"{_ANSWER} content application/json schema maxItems", _GONE, "maxItems"),
    ("components schemas Thing oneOf 2", {"type": "string"}, "oneOf"),
    (f"{_BIG} properties id", _GONE, "member"),
    (f"{_BIG} properties colour", _GONE, "member"),
    (f"{_BIG} required", ["kind"], "required"),
    (f"{_BIG} properties id format", _GONE, "format"),
    (f"{_BIG} properties id nullable", True, "nullable"),
    (f"{_BIG} properties id type", "integer", "type"),
    (f"{_BIG} properties colour enum", ["red", "green", "blue"], "enum"),
    (f"{_BIG} properties colour enum", _GONE, "enum"),
    (f"{_BIG} properties colour maxLength", 6, "maxLength"),
    (f"{_BIG} additionalProperties", _GONE, "additionalProperties"),
]
# What is told of, and breaks nobody; without a kind it is not even told of.
HARMLESS = [
    ("servers 1", {"url": "/v2"}, "server"),
    ("paths /more", {"get": {"responses": {}}}, "operation"),
    (f"{_ADD} security 2", {"key": [], "other": []}, "security"),
    ("security", [], "security"),
    (f"{_LIST} parameters 1", {"name": "q", "in": "query", "schema": {}}, "parameter"),
    (f"{_PAGE} schema type", "number", "type"),
    (f"{_PAGE} schema format", _GONE, "format"),
    (f"{_PAGE} schema minimum", 0, "minimum"),
    (f"{_PAGE} schema maximum", _GONE, "maximum"),
    (f"{_LIST} parameters 0 schema default", "age", ""),
    (f"{_LIST} parameters 0 schema enum", ["age", "size", "name"], "enum"),
    (f"{_LIST} requestBody", {"content": {}}, "request"),
    (f"{_ADD} requestBody required", False, "required"),
    (f"{_ADD} requestBody content text/plain", {}, "media type"),
    (f"{_NEW} required", [], "required"),
    (f"{_NEW} properties weight", {"type": "integer"}, "member"),
    (f"{_NEW} properties size oneOf 2", {"type": "boolean"}, "oneOf"),
    (f"{_NEW} properties name nullable", True, "nullable"),
    (f"{_NEW} properties name pattern", _GONE, "pattern"),
    (f"{_NEW} properties name maxLength", 21, "maxLength"),
    (f"{_NEW} properties note format", "password", ""),
    (f"{_NEW} additionalProperties", True, "additionalProperties"),
    (f"{_LIST} responses 404", {"description": "No."}, "status"),
    (f"{_ANSWER} headers X-More", {"schema": {}}, "header"),
    (f"{_ANSWER} content application/json schema maxItems", 8, "maxItems"),
    (f"{_ANSWER} content text/plain", {}, "media type"),
    ("components schemas Thing oneOf 0", _GONE, "oneOf"),
    ("components schemas Thing oneOf", [{"$ref": f"#/components/schemas/{name}"} for name in ("Small", "Big")], ""),
    (f"{_BIG} required", ["kind", "id", "colour"], "required"),
    (f"{_BIG} properties size", {"type": "integer"}, "member"),
    (f"{_BIG} properties colour enum", ["red"], "enum"),
    (f"{_BIG} properties colour default", "red", ""),
    (f"{_BIG} properties colour description", "How it looks.", ""),
    (f"{_LIST} summary", "List things", ""),
    (f"{_LIST} tags 1", "More", ""),
    (f"{_LIST} x-note", "internal", ""),
    ("components schemas Unused", {"type": "string"}, ""),
]


@cache
def _current() -> Any:
    return _load(SPECIFICATION)


def _load(path: Path) -> Any:
    return load(path)


def _changed(document: Any, place: str, value: Any) -> Any:
    """Return a copy of a document with a value put at a place, or with what is there taken away."""
    copy = deepcopy(document)
    *way, last = [int(name) if len(name) == 1 and name.isdigit() else name for name in place.split(" ")]
    part = copy
    for name in way:
        part = part[name]
    if value is _GONE:
        del part[last]
    elif isinstance(last, int):
        part[last : last + 1] = [value]
    else:
        part[last] = value
    return copy


def _cases(cases: Iterable[tuple[str, Any, str]]) -> list[Any]:
    return [
        pytest.param(*case, id=f"{case[0]} {'gone' if case[1] is _GONE else case[1]}".replace(" ", "_"))
        for case in cases
    ]


@all_cases(("place", "value", "kind"), _cases(BREAKS))
def test_break_is_found(place: str, value: Any, kind: str) -> None:
    """A change that breaks clients is found, and told by what it is about."""
    small = yaml.safe_load(_SMALL)
    assert kind in {change.kind for change in compare(small, _changed(small, place, value)) if change.breaks}


@all_cases(("place", "value", "kind"), _cases(HARMLESS))
def test_harmless_change_is_only_told_of(place: str, value: Any, kind: str) -> None:
    """A change that breaks nobody is told of as what it is, or not at all if it is only words."""
    small = yaml.safe_load(_SMALL)
    changes = compare(small, _changed(small, place, value))
    assert {(change.kind, change.breaks) for change in changes} == ({(kind, False)} if kind else set())


def test_change_is_told_by_operation_and_place() -> None:
    """A line names the operation, the place in it, and how it was and is; a schema counts wherever it is used."""
    small = yaml.safe_load(_SMALL)
    assert compare(small, _changed(small, f"{_BIG} properties colour maxLength", 6)) == [
        Change("GET /things", "200[]<big>/colour", "maxLength", "5", "6", breaks=True)
    ]
    assert [change.operation for change in compare(small, _changed(small, f"{_PAGE} schema minimum", 2))] == [
        "GET /things",
        "POST /things",
    ]


@all_cases(
    "place",
    [
        f"{name} properties {member}"
        for name, schema in _current()["components"]["schemas"].items()
        for member in schema.get("properties", {})
    ],
)
def test_no_member_can_be_dropped(place: str) -> None:
    """Whichever member of a schema goes out of the real contract, clients break."""
    without = _changed(_current(), f"components schemas {place}", _GONE)
    assert breaks(_current(), without)


@pytest.mark.parametrize("path", sorted(_RELEASED.glob("*.yml")), ids=lambda path: path.stem)
def test_released_contract_is_named_by_its_version(path: Path) -> None:
    """The name of a released contract tells its version."""
    assert path.stem == f"api-{_load(path)['info']['version']}"


def test_last_release_is_kept() -> None:
    """What worked with the last released contract works with api.yml, unless the major version grew.

    What is new is written to standard output.
    """
    released = max((_load(path) for path in _RELEASED.glob("*.yml")), key=_version)
    sys.stdout.write(f"New since the last release:\n{_table(compare(released, _current()), breaks=False)}\n")
    assert _refusal(released, _current()) == ""


def test_only_a_major_version_may_break() -> None:
    """A break is refused with a table at the same version and a minor one, not at a major one; older is refused too."""
    small = yaml.safe_load(_SMALL)
    broken = _changed(small, f"{_ADD} operationId", "things.create")
    for version, refused in (("1.0.0", True), ("1.1.0", True), ("2.0.0", False)):
        refusal = _refusal(small, _changed(broken, "info version", version))
        assert ("things.create" in refusal) == refused == bool(refusal)
    assert _refusal(small, _changed(small, "info version", "0.9.0"))


def _refusal(released: Any, current: Any) -> str:
    """Return why a contract must not follow a released one; empty: it may."""
    before, now = _version(released), _version(current)
    if now < before:
        return "The version is below that of the last release."
    breaks = _table(compare(released, current), breaks=True)
    if not breaks or now[0] > before[0]:
        return ""
    return f"These changes break clients, and the major version did not grow:\n{breaks}"


def _version(document: Any) -> tuple[int, ...]:
    return tuple(int(number) for number in document["info"]["version"].split("."))


def _table(changes: Iterable[Change], *, breaks: bool) -> str:
    """Return the changes that break clients, or those that do not, as the lines of a table."""
    rows = [
        (change.operation, change.place, change.kind, change.old, change.new)
        for change in changes
        if change.breaks is breaks
    ]
    if not rows:
        return ""
    rows.insert(0, ("operation", "place", "kind", "old", "new"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
