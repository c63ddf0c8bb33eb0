"""api.yml is compatible with the last release, unless its major version is greater."""

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
_REMOVED = object()
# A small document with one example of each feature.
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
_RESPONSE, _PAGE = f"{_LIST} responses 200", "components parameters Page"
_NEW, _BIG = "components schemas New", "components schemas Big"

BREAKS = [
    ("servers 0 url", "/v2", "server"),
    ("paths /things", _REMOVED, "operation"),
    (_LIST, _REMOVED, "operation"),
    (f"{_LIST} operationId", "things.all", "operationId"),
    (f"{_LIST} tags 0", "Stuff", "first tag"),
    (f"{_ADD} security 1", _REMOVED, "security"),
    ("security 0", {"other": []}, "security"),
    ("security 0 other", [], "security"),
    ("components securitySchemes key scheme", "basic", "security"),
    (f"{_LIST} parameters 0", _REMOVED, "parameter"),
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
    (f"{_ADD} requestBody", _REMOVED, "request"),
    (f"{_ADD} requestBody content", {"text/plain": {}}, "media type"),
    (f"{_NEW} required", ["name", "note"], "required"),
    (f"{_NEW} properties note", _REMOVED, "member"),
    (f"{_NEW} properties note nullable", _REMOVED, "nullable"),
    (f"{_NEW} properties name minLength", 3, "minLength"),
    (f"{_NEW} properties name maxLength", 19, "maxLength"),
    (f"{_NEW} properties name pattern", "^[a-c]*$", "pattern"),
    (f"{_NEW} properties note pattern", "^[a-z]*$", "pattern"),
    (f"{_NEW} properties note format", "uri", "format"),
    (f"{_NEW} properties size oneOf 1", _REMOVED, "oneOf"),
    (f"{_NEW} allOf", [{"required": ["note"]}], "allOf"),
    (f"{_LIST} responses 400", _REMOVED, "status"),
    (f"{_LIST} responses 202", {"description": "Later."}, "status"),
    (f"{_LIST} responses 302", {"description": "Elsewhere."}, "status"),
    (f"{_RESPONSE} headers X-Total", _REMOVED, "header"),
    (f"{_RESPONSE} headers X-Total required", _REMOVED, "required"),
    (f"{_RESPONSE} headers X-Total schema format", "int64", "format"),
    (f"{_RESPONSE} content", {"text/plain": {}}, "media type"),
    (f"{_RESPONSE} content application/json schema maxItems", 10, "maxItems"),
    (f"{_RESPONSE} content application/json schema maxItems", _REMOVED, "maxItems"),
    ("components schemas Thing oneOf 2", {"type": "string"}, "oneOf"),
    (f"{_BIG} properties id", _REMOVED, "member"),
    (f"{_BIG} properties colour", _REMOVED, "member"),
    (f"{_BIG} required", ["kind"], "required"),
    (f"{_BIG} properties id format", _REMOVED, "format"),
    (f"{_BIG} properties id nullable", True, "nullable"),
    (f"{_BIG} properties id type", "integer", "type"),
    (f"{_BIG} properties colour enum", ["red", "green", "blue"], "enum"),
    (f"{_BIG} properties colour enum", _REMOVED, "enum"),
    (f"{_BIG} properties colour maxLength", 6, "maxLength"),
    (f"{_BIG} additionalProperties", _REMOVED, "additionalProperties"),
]
# Compatible changes; those without a kind are not reported.
COMPATIBLE = [
    ("servers 1", {"url": "/v2"}, "server"),
    ("paths /more", {"get": {"responses": {}}}, "operation"),
    (f"{_ADD} security 2", {"key": [], "other": []}, "security"),
    ("security", [], "security"),
    (f"{_LIST} parameters 1", {"name": "q", "in": "query", "schema": {}}, "parameter"),
    (f"{_PAGE} schema type", "number", "type"),
    (f"{_PAGE} schema format", _REMOVED, "format"),
    (f"{_PAGE} schema minimum", 0, "minimum"),
    (f"{_PAGE} schema maximum", _REMOVED, "maximum"),
    (f"{_LIST} parameters 0 schema default", "age", ""),
    (f"{_LIST} parameters 0 schema enum", ["age", "size", "name"], "enum"),
    (f"{_LIST} requestBody", {"content": {}}, "request"),
    (f"{_ADD} requestBody required", False, "required"),
    (f"{_ADD} requestBody content text/plain", {}, "media type"),
    (f"{_NEW} required", [], "required"),
    (f"{_NEW} properties weight", {"type": "integer"}, "member"),
    (f"{_NEW} properties size oneOf 2", {"type": "boolean"}, "oneOf"),
    (f"{_NEW} properties name nullable", True, "nullable"),
    (f"{_NEW} properties name pattern", _REMOVED, "pattern"),
    (f"{_NEW} properties name maxLength", 21, "maxLength"),
    (f"{_NEW} properties note format", "password", ""),
    (f"{_NEW} additionalProperties", True, "additionalProperties"),
    (f"{_LIST} responses 404", {"description": "No."}, "status"),
    (f"{_LIST} responses 304", {"description": "As before."}, "status"),
    (f"{_RESPONSE} headers X-More", {"schema": {}}, "header"),
    (f"{_RESPONSE} content application/json schema maxItems", 8, "maxItems"),
    (f"{_RESPONSE} content text/plain", {}, "media type"),
    ("components schemas Thing oneOf 0", _REMOVED, "oneOf"),
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


def _changed(document: Any, location: str, value: Any) -> Any:
    """Return a copy of a document with one value set, or removed for `_REMOVED`."""
    copy = deepcopy(document)
    *path, last = [int(name) if len(name) == 1 and name.isdigit() else name for name in location.split(" ")]
    part = copy
    for name in path:
        part = part[name]
    if value is _REMOVED:
        del part[last]
    elif isinstance(last, int):
        part[last : last + 1] = [value]
    else:
        part[last] = value
    return copy


def _cases(cases: Iterable[tuple[str, Any, str]]) -> list[Any]:
    return [
        pytest.param(*case, id=f"{case[0]} {'removed' if case[1] is _REMOVED else case[1]}".replace(" ", "_"))
        for case in cases
    ]


@all_cases(("location", "value", "kind"), _cases(BREAKS))
def test_breaking_change_is_detected(location: str, value: Any, kind: str) -> None:
    """A breaking change is reported as breaking, with its kind."""
    small = yaml.safe_load(_SMALL)
    assert kind in {change.kind for change in compare(small, _changed(small, location, value)) if change.breaks}


@all_cases(("location", "value", "kind"), _cases(COMPATIBLE))
def test_compatible_change_is_reported(location: str, value: Any, kind: str) -> None:
    """A compatible change is reported with its kind; a change of descriptions is not reported."""
    small = yaml.safe_load(_SMALL)
    changes = compare(small, _changed(small, location, value))
    assert {(change.kind, change.breaks) for change in changes} == ({(kind, False)} if kind else set())


def test_change_has_operation_and_location() -> None:
    """A change has its operation, its location and both values, and is reported for each use of a schema."""
    small = yaml.safe_load(_SMALL)
    assert compare(small, _changed(small, f"{_BIG} properties colour maxLength", 6)) == [
        Change("GET /things", "200[]<big>/colour", "maxLength", "5", "6", breaks=True)
    ]
    assert [change.operation for change in compare(small, _changed(small, f"{_PAGE} schema minimum", 2))] == [
        "GET /things",
        "POST /things",
    ]


@all_cases(
    "location",
    [
        f"{name} properties {member}"
        for name, schema in _current()["components"]["schemas"].items()
        for member in schema.get("properties", {})
    ],
)
def test_removed_member_is_a_breaking_change(location: str) -> None:
    """In api.yml, the removal of any member of a schema is a breaking change."""
    without = _changed(_current(), f"components schemas {location}", _REMOVED)
    assert breaks(_current(), without)


@pytest.mark.parametrize("path", sorted(_RELEASED.glob("*.yml")), ids=lambda path: path.stem)
def test_file_name_of_a_release_has_its_version(path: Path) -> None:
    """The file name of a released api.yml has its version."""
    assert path.stem == f"api-{_load(path)['info']['version']}"


def test_api_is_compatible_with_the_last_release() -> None:
    """No change since the last release breaks clients, unless the major version is greater.

    The compatible changes are written to stdout.
    """
    released = max((_load(path) for path in _RELEASED.glob("*.yml")), key=_version)
    sys.stdout.write(f"New since the last release:\n{_table(compare(released, _current()), breaks=False)}\n")
    assert _refusal(released, _current()) == ""


def test_breaking_changes_need_a_major_version() -> None:
    """A breaking change is refused at the same major version, with a table, and an older version is always refused."""
    small = yaml.safe_load(_SMALL)
    broken = _changed(small, f"{_ADD} operationId", "things.create")
    for version, refused in (("1.0.0", True), ("1.1.0", True), ("2.0.0", False)):
        refusal = _refusal(small, _changed(broken, "info version", version))
        assert ("things.create" in refusal) == refused == bool(refusal)
    assert _refusal(small, _changed(small, "info version", "0.9.0"))


def _refusal(released: Any, current: Any) -> str:
    """Return why a document must not follow a released one; empty: it may."""
    before, now = _version(released), _version(current)
    if now < before:
        return "The version is older than the last release."
    breaks = _table(compare(released, current), breaks=True)
    if not breaks or now[0] > before[0]:
        return ""
    return f"These changes break clients, but the major version is the same:\n{breaks}"


def _version(document: Any) -> tuple[int, ...]:
    return tuple(int(number) for number in document["info"]["version"].split("."))


def _table(changes: Iterable[Change], *, breaks: bool) -> str:
    """Return the changes that break clients, or those that do not, as the lines of a table."""
    rows = [
        (change.operation, change.location, change.kind, change.old, change.new)
        for change in changes
        if change.breaks is breaks
    ]
    if not rows:
        return ""
    rows.insert(0, ("operation", "location", "kind", "old", "new"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
