"""api.yml is compatible with the released versions: tests/contract/breaking.py has the kinds of changes.

A change that breaks clients in use needs a new major version, one that breaks programs when their client is generated
again a new minor version.
"""

import re
import sys
from collections.abc import Collection, Iterable
from copy import copy, deepcopy
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
import yaml

from promo_api.contract.document import read_document
from tests.cases import all_cases
from tests.contract.accepted_changes import ACCEPTED
from tests.contract.breaking import Change, Effect, breaks, compare
from tests.specification import specification

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
        content:
          application/json: {schema: {$ref: '#/components/schemas/New'}}
          text/csv: {x-max-bytes: 100, schema: {type: string}}
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
      additionalProperties: true
      required: [kind, id]
      properties:
        kind: {type: string, enum: [big]}
        id: {type: string, format: uuid}
        colour: {$ref: '#/components/schemas/Colour'}
        state: {type: string, x-extensible-enum: [on, off]}
    Small: {type: object, required: [kind], properties: {kind: {type: string, enum: [small]}}}
    Colour: {type: string, enum: [red, green], maxLength: 5}
    Id: {type: string, format: uuid}
"""
_LIST, _ADD = "paths /things get", "paths /things post"
_RESPONSE, _PAGE = f"{_LIST} responses 200", "components parameters Page"
_NEW, _BIG, _COLOUR = "components schemas New", "components schemas Big", "components schemas Colour"

# Changes that break clients in use.
WIRE = [
    ("servers 0 url", "/v2", "server"),
    ("paths /things", _REMOVED, "operation"),
    (_LIST, _REMOVED, "operation"),
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
    (f"{_ADD} requestBody content text/csv", _REMOVED, "media type"),
    (f"{_ADD} requestBody content text/csv x-max-bytes", 99, "x-max-bytes"),
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
    (f"{_COLOUR} enum", ["red", "green", "blue"], "enum"),
    (f"{_COLOUR} enum", _REMOVED, "enum"),
    (f"{_COLOUR} maxLength", 6, "maxLength"),
    ("components schemas Small properties size", {"type": "integer"}, "member"),
    (f"{_NEW} properties size oneOf 0 type", "string", "type"),
]
# Changes that break programs when their client is generated again.
SOURCE = [
    (f"{_LIST} operationId", "things.all", "operationId"),
    (f"{_LIST} tags 0", "Stuff", "first tag"),
    (f"{_LIST} parameters 1", {"name": "q", "in": "query", "schema": {}}, "parameter"),
    (f"{_PAGE} schema type", "number", "type"),
    (f"{_PAGE} schema format", _REMOVED, "format"),
    (f"{_LIST} requestBody", {"content": {}}, "request"),
    (f"{_ADD} requestBody required", False, "required"),
    (f"{_NEW} required", [], "required"),
    (f"{_NEW} properties name nullable", True, "nullable"),
    (f"{_BIG} properties state enum", ["on"], "enum"),
    (f"{_BIG} properties state", {"type": "string", "enum": ["on", "off", "broken"]}, "enum"),
    (f"{_BIG} required", ["kind", "id", "colour"], "required"),
    (f"{_BIG} additionalProperties", False, "additionalProperties"),
    (f"{_BIG} additionalProperties", _REMOVED, "additionalProperties"),
    (f"{_COLOUR}", {"type": "string", "x-extensible-enum": ["red", "green"], "maxLength": 5}, "enum"),
    (f"{_COLOUR} enum", ["red"], "enum"),
    ("components schemas Thing discriminator mapping", {"big": "#/components/schemas/Big"}, "discriminator"),
    ("components schemas Thing oneOf 0", _REMOVED, "oneOf"),
]
# Compatible changes; those without a kind are not reported.
COMPATIBLE = [
    ("servers 1", {"url": "/v2"}, "server"),
    ("paths /more", {"get": {"responses": {}}}, "operation"),
    (f"{_ADD} security 2", {"key": [], "other": []}, "security"),
    ("security", [], "security"),
    (f"{_PAGE} schema minimum", 0, "minimum"),
    (f"{_PAGE} schema maximum", _REMOVED, "maximum"),
    (f"{_LIST} parameters 0 schema default", "age", ""),
    (f"{_LIST} parameters 0 schema enum", ["age", "size", "name"], "enum"),
    (f"{_ADD} requestBody content text/plain", {}, "media type"),
    (f"{_ADD} requestBody content text/csv x-max-bytes", 101, "x-max-bytes"),
    (f"{_NEW} properties weight", {"type": "integer"}, "member"),
    (f"{_NEW} properties size oneOf 2", {"type": "boolean"}, "oneOf"),
    (f"{_NEW} properties name pattern", _REMOVED, "pattern"),
    (f"{_NEW} properties name maxLength", 21, "maxLength"),
    (f"{_NEW} properties note format", "password", ""),
    (f"{_NEW} additionalProperties", True, "additionalProperties"),
    (f"{_LIST} responses 404", {"description": "No."}, "status"),
    (f"{_LIST} responses 304", {"description": "As before."}, "status"),
    (f"{_RESPONSE} headers X-More", {"schema": {}}, "header"),
    (f"{_RESPONSE} content application/json schema maxItems", 8, "maxItems"),
    (f"{_RESPONSE} content text/plain", {}, "media type"),
    ("components schemas Thing oneOf", [{"$ref": f"#/components/schemas/{name}"} for name in ("Small", "Big")], ""),
    (f"{_BIG} properties size", {"type": "integer"}, "member"),
    (f"{_BIG} properties state x-extensible-enum", ["on", "off", "broken"], ""),
    (f"{_BIG} properties state x-extensible-enum", ["on"], ""),
    ("components schemas Small additionalProperties", True, "additionalProperties"),
    (f"{_BIG} properties id", {"$ref": "#/components/schemas/Id"}, ""),
    (f"{_COLOUR} default", "red", ""),
    (f"{_COLOUR} description", "How it looks.", ""),
    (f"{_LIST} summary", "List things", ""),
    (f"{_LIST} tags 1", "More", ""),
    (f"{_LIST} x-note", "internal", ""),
    ("components schemas Unused", {"type": "string"}, ""),
]


def _changed(document: Any, location: str, value: Any) -> Any:
    """Return a document with one value set, or removed for `_REMOVED`. It shares the other values with the first."""
    changed = part = copy(document)
    *path, last = [int(name) if len(name) == 1 and name.isdigit() else name for name in location.split(" ")]
    for name in path:
        part[name] = copy(part[name])
        part = part[name]
    if value is _REMOVED:
        del part[last]
    elif isinstance(last, int):
        part[last : last + 1] = [value]
    else:
        part[last] = value
    return changed


def _cases(cases: Iterable[tuple[str, Any, str]]) -> list[Any]:
    return [
        pytest.param(*case, id=f"{case[0]} {'removed' if case[1] is _REMOVED else case[1]}".replace(" ", "_"))
        for case in cases
    ]


@all_cases(("location", "value", "kind"), _cases(WIRE))
def test_change_that_breaks_clients_in_use(location: str, value: Any, kind: str) -> None:
    """A change that breaks clients in use is reported as such, with its kind."""
    assert (kind, Effect.WIRE) in _kinds_and_effects(location, value)


@all_cases(("location", "value", "kind"), _cases(SOURCE))
def test_change_of_generated_code(location: str, value: Any, kind: str) -> None:
    """A change of names or types in generated code is reported as such, with its kind, and breaks no client in use."""
    changes = _kinds_and_effects(location, value)
    assert (kind, Effect.SOURCE) in changes
    assert Effect.WIRE not in {effect for _, effect in changes}


@all_cases(("location", "value", "kind"), _cases(COMPATIBLE))
def test_compatible_change_is_reported(location: str, value: Any, kind: str) -> None:
    """A compatible change is reported with its kind; a change of descriptions is not reported."""
    assert _kinds_and_effects(location, value) == ({(kind, Effect.NONE)} if kind else set())


def _kinds_and_effects(location: str, value: Any) -> set[tuple[str, Effect]]:
    small = yaml.safe_load(_SMALL)
    return {(change.kind, change.effect) for change in compare(small, _changed(small, location, value))}


@pytest.mark.parametrize("name", ["New", "Thing", "Big", "Colour"])
def test_new_name_of_a_schema(name: str) -> None:
    """A new name of a schema changes the name of its class. Schemas of simple values have no class."""
    renamed = yaml.safe_load(re.sub(rf"\b{name}\b", "Other", _SMALL))
    changes = compare(yaml.safe_load(_SMALL), renamed)
    assert {(change.kind, change.effect) for change in changes} == {("name", Effect.SOURCE)}


def test_order_of_arguments() -> None:
    """A new order of parameters, or of the members of a request, changes the arguments of generated functions."""
    small = yaml.safe_load(_SMALL)
    small["paths"]["/things"]["get"]["parameters"].append({"name": "q", "in": "query", "schema": {}})
    for path in (("paths", "/things", "get", "parameters"), ("components", "schemas", "New", "properties")):
        other = deepcopy(small)
        *parents, last = path
        part = reduce(getitem, parents, other)
        part[last] = dict(reversed(part[last].items())) if isinstance(part[last], dict) else part[last][::-1]
        assert {change.effect for change in compare(small, other)} == {Effect.SOURCE}


def test_change_has_operation_and_location() -> None:
    """A change has its operation, its location and both values, and is reported for each use of a schema."""
    small = yaml.safe_load(_SMALL)
    assert compare(small, _changed(small, f"{_COLOUR} maxLength", 6)) == [
        Change("GET /things", "200[]<big>/colour", "maxLength", "5", "6", Effect.WIRE)
    ]
    assert [change.operation for change in compare(small, _changed(small, f"{_PAGE} schema minimum", 2))] == [
        "GET /things",
        "POST /things",
    ]


@all_cases(
    "location",
    [
        f"{name} properties {member}"
        for name, schema in specification()["components"]["schemas"].items()
        for member in schema.get("properties", {})
    ],
)
def test_removed_member_is_a_breaking_change(location: str) -> None:
    """In api.yml, the removal of any member of a schema is a breaking change."""
    without = _changed(specification(), f"components schemas {location}", _REMOVED)
    assert breaks(specification(), without)


@pytest.mark.parametrize("path", sorted(_RELEASED.glob("*.yml")), ids=lambda path: path.stem)
def test_file_name_of_a_release_has_its_version(path: Path) -> None:
    """The file name of a released api.yml has its version."""
    assert path.stem == f"api-{read_document(path)['info']['version']}"


def test_clients_of_all_releases_work() -> None:
    """No change since any release breaks clients in use, except the accepted ones, and all of those exist."""
    changes = [change for released in _released() for change in compare(released, specification())]
    breaking = [change for change in changes if change.effect is Effect.WIRE]
    accepted = {change for each in ACCEPTED.values() for change in each}
    assert _table([change for change in breaking if _member_and_kind(change) not in accepted]) == ""
    assert accepted == {_member_and_kind(change) for change in breaking} & accepted


def test_version_follows_the_changes() -> None:
    """The version has grown since the last release as the changes need. The changes are written to stdout."""
    released = max(_released(), key=_version)
    changes = compare(released, specification())
    sys.stdout.write(f"Changes since the last release:\n{_table(changes)}\n")
    accepted = {change for each in ACCEPTED.values() for change in each}
    assert _refusal(released, specification(), accepted) == ""


@pytest.mark.parametrize(
    ("location", "value", "first"),
    [
        (f"{_LIST} summary", "List things.", "1.0.0"),
        (f"{_ADD} operationId", "things.create", "1.1.0"),
        (f"{_NEW} properties name maxLength", 19, "2.0.0"),
    ],
)
def test_version_that_a_change_needs(location: str, value: Any, first: str) -> None:
    """A change of generated code needs a new minor version, and one that breaks clients in use a new major version."""
    small = yaml.safe_load(_SMALL)
    changed = _changed(small, location, value)
    for version in ("0.9.0", "1.0.0", "1.0.1", "1.1.0", "2.0.0"):
        refusal = _refusal(small, _changed(changed, "info version", version))
        assert (refusal == "") == (version >= first), version


def _released() -> list[Any]:
    return [read_document(path) for path in sorted(_RELEASED.glob("*.yml"))]


def _refusal(released: Any, current: Any, accepted: Collection[tuple[str, str]] = ()) -> str:
    """Return why a document must not follow a released one; empty: it may."""
    before, now = _version(released), _version(current)
    if now < before:
        return "The version is older than the last release."
    changes = [change for change in compare(released, current) if _member_and_kind(change) not in accepted]
    worst = max((change.effect for change in changes), default=Effect.NONE)
    needed = {Effect.NONE: before, Effect.SOURCE: (before[0], before[1] + 1), Effect.WIRE: (before[0] + 1,)}[worst]
    if now >= needed:
        return ""
    return f"These changes need version {needed}:\n{_table([each for each in changes if each.effect is worst])}"


def _member_and_kind(change: Change) -> tuple[str, str]:
    return re.split("[/ ]", change.location)[-1].removesuffix("[]"), change.kind


def _version(document: Any) -> tuple[int, ...]:
    return tuple(int(number) for number in document["info"]["version"].split("."))


def _table(changes: Iterable[Change]) -> str:
    """Return changes as the lines of a table."""
    rows = [
        (change.effect.name, change.operation, change.location, change.kind, change.old, change.new)
        for change in changes
    ]
    if not rows:
        return ""
    rows.insert(0, ("effect", "operation", "location", "kind", "old", "new"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
