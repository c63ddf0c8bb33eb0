"""api.yml itself: it is OpenAPI, its operations follow the same rules, and its examples match their schemas."""

import re
from collections.abc import Iterator
from functools import cache
from itertools import product
from string import ascii_letters
from typing import Any

import pycountry
import pytest
import yaml
from connexion.spec import Specification
from openapi_spec_validator import OpenAPIV30SpecValidator

from promo_api.app import SPECIFICATION
from promo_api.contract.schemas import compile_schema
from promo_api.specification import MAX_PAGE_ENTRIES
from tests.cases import all_cases
from tests.operations import OPERATIONS, Operation
from tests.pages import page
from tests.specification import specification


@cache
def _operations() -> dict[str, Any]:
    """Return the operations by method and path, references resolved."""
    paths = Specification.load(SPECIFICATION)["paths"]
    return {
        f"{method.upper()} {path}": declared for path, methods in paths.items() for method, declared in methods.items()
    }


@cache
def _components() -> Any:
    return Specification.load(SPECIFICATION)["components"]


def _resolved(operation: Operation) -> Any:
    return _operations()[f"{operation.method} {operation.path}"]


def _parameters(operation: Operation, location: str) -> dict[str, Any]:
    declared = _resolved(operation).get("parameters", ())
    return {parameter["name"]: parameter for parameter in declared if parameter["in"] == location}


def _by_id(operation: Operation) -> str:
    return operation.id


_JSON = "application/json"
_STATUSES_OF_HEADERS = {"Idempotency-Key": "422", "If-Match": "412", "If-None-Match": "304"}
_CONDITIONAL_CHANGES = {
    "business_profile.update_profile",
    "business_promos.update_promo",
    "user_profile.update_profile",
    "user_profile.delete_profile",
    "user_comments.update_comment",
    "user_comments.delete_comment",
}
every_operation = all_cases("operation", OPERATIONS)


def test_specification_is_openapi() -> None:
    """An independent validator accepts the file as OpenAPI 3.0."""
    assert [*OpenAPIV30SpecValidator(specification()).iter_errors()] == []


def test_no_python_path_or_setting_is_published() -> None:
    """Clients see no module of the server, and only the extensions that docs/api.md names."""
    text = SPECIFICATION.read_text(encoding="utf-8")
    assert "promo_api" not in text
    assert {*re.findall(r"^ +(x-[a-z-]+):", text, re.MULTILINE)} == {*re.findall(r"`(x-[a-z-]+)`", page("docs/api.md"))}


@every_operation
def test_path_names_the_account(operation: Operation) -> None:
    """The path says which kind of account an operation needs; those before a sign-in, ping and health need none."""
    kind = {"business": "company", "user": "user"}.get(operation.path.split("/")[1], "")
    is_open = operation.id.endswith((".sign_up", ".sign_in", ".forgot_password", ".reset_password")) or not kind
    assert operation.account == ("" if is_open else kind)
    assert operation.id.partition("_")[0] == operation.path.split("/")[1] or not kind


def _success(operation: Operation) -> str:
    """Return the status of success: 201 if something is created, 202 if it is done later."""
    if "202" in operation.declared["responses"]:
        return "202"
    return "201" if ".create_" in operation.id else "200"


@every_operation
def test_documented_statuses(operation: Operation) -> None:
    """An operation documents the statuses that follow from its parameters and body, except 403, 409 and 429."""
    headers = _parameters(operation, "header")
    expected = {_success(operation), "400"}
    if operation.account or operation.id.endswith(".sign_in"):
        expected.add("401")
    if operation.id != "health.ping":
        expected.add("503")
    if operation.takes_body:
        expected |= {"413", "415"}
    if _parameters(operation, "path"):
        expected.add("404")
    expected |= {status for name, status in _STATUSES_OF_HEADERS.items() if name in headers}
    assert operation.declared["responses"].keys() - {"403", "409", "429"} == expected


@every_operation
def test_response_headers(operation: Operation) -> None:
    """Only pages have cursors, only those by offset X-Total-Count, and only replayed responses Idempotent-Replayed."""
    headers = _resolved(operation)["responses"][_success(operation)].get("headers", {})
    has_cursor = "cursor" in _parameters(operation, "query")
    # The cursor of a report would reveal its user.
    assert has_cursor == (
        "limit" in _parameters(operation, "query") and operation.id != "business_comments.list_reports"
    )
    is_page = {"limit", "offset"} <= _parameters(operation, "query").keys()
    assert ("X-Total-Count" in headers) == is_page
    assert ("Idempotent-Replayed" in headers) == ("Idempotency-Key" in _parameters(operation, "header"))
    assert {"Link", "X-Next-Cursor"} & headers.keys() == ({"Link", "X-Next-Cursor"} if has_cursor else set())
    returns_job = "'#/components/schemas/Job'" in str(operation.declared["responses"].get("202"))
    assert ("Location" in headers) == returns_job
    headers.pop("Location", None)
    assert headers.keys() <= {"Link", "X-Next-Cursor", "X-Total-Count", "Idempotent-Replayed", "ETag", "Cache-Control"}


@every_operation
def test_header_parameters_are_optional(operation: Operation) -> None:
    """The header parameters are Idempotency-Key, If-Match and If-None-Match, and none is required."""
    headers = _parameters(operation, "header")
    assert headers.keys() <= _STATUSES_OF_HEADERS.keys()
    assert not any(header.get("required") for header in headers.values())


@every_operation
def test_conditional_requests(operation: Operation) -> None:
    """Every GET but those of the service's state has If-None-Match and ETag, and so has what can be changed."""
    headers, responses = _parameters(operation, "header"), _resolved(operation)["responses"]
    # A stream has no entity tag.
    has_json = _JSON in next(iter(responses.values())).get("content", {})
    is_conditional = operation.method == "GET" and "health." not in operation.id and has_json
    assert ("If-None-Match" in headers) == is_conditional
    assert not is_conditional or "ETag" in responses["200"]["headers"]
    assert ("If-Match" in headers) == (operation.id in _CONDITIONAL_CHANGES)
    if "304" in responses:
        assert ("content" in responses["304"], [*responses["304"]["headers"]]) == (False, ["ETag"])


@every_operation
def test_stored_responses(operation: Operation) -> None:
    """Only responses to a GET that have no code, token or data of an account may be stored."""
    success = _resolved(operation)["responses"].get("200", {})
    if "Cache-Control" in success.get("headers", {}):
        assert operation.method == "GET"
        members = _members(success["content"][_JSON]["schema"])
        assert not members & {"promo", "promo_common", "promo_unique", "token", "email"}


def test_pages_have_the_same_size() -> None:
    """All pages have the same maximum of entries, which the server reads from one of them."""
    pages = [_resolved(each)["responses"]["200"] for each in OPERATIONS if "limit" in _parameters(each, "query")]
    assert {page["content"][_JSON]["schema"]["maxItems"] for page in pages} == {MAX_PAGE_ENTRIES}


@every_operation
def test_responses_are_open(operation: Operation) -> None:
    """The objects of JSON responses accept new members.

    `additionalProperties: true` must say so: if it is left out, the Go and Java clients of openapi-generator refuse new
    members.
    """
    for response in [each for status, each in _resolved(operation)["responses"].items() if status != "304"]:
        objects = _objects(response["content"].get(_JSON, {}).get("schema", {}))
        assert {pointer for pointer, each in objects if each.get("additionalProperties") is not True} == set()


@every_operation
def test_media_types(operation: Operation) -> None:
    """Only successful responses have other media types than JSON; JSON is the first of several, as clients expect."""
    for status, response in _resolved(operation)["responses"].items():
        types = [*response.get("content", {})]
        assert (types == []) == (status == "304")
        assert types in ([], [_JSON]) or status.startswith("2")
        assert _JSON not in types[1:]


def _streams(part: Any) -> dict[str, Any]:
    """Return the media types of a request or response that are streamed."""
    return {name: media for name, media in part.get("content", {}).items() if name != _JSON}


@every_operation
def test_streams(operation: Operation) -> None:
    """A streamed body is a string; that of a request is limited. Its operation runs in the pool `streams`."""
    declared = _resolved(operation)
    uploads = _streams(declared.get("requestBody", {}))
    downloads = [media for response in declared["responses"].values() for media in _streams(response).values()]
    for media in (*uploads.values(), *downloads):
        assert media["schema"]["type"] == "string"
    assert all(isinstance(media["x-max-bytes"], int) for media in uploads.values())
    assert not any("x-max-bytes" in media for media in downloads)
    assert (declared.get("x-thread-pool") == "streams") == bool(uploads or downloads)


@pytest.mark.parametrize("operation", [each for each in OPERATIONS if each.takes_body], ids=_by_id)
def test_requests_are_closed(operation: Operation) -> None:
    """A request body is required, and the objects of JSON refuse members that are not described."""
    declared = _resolved(operation)["requestBody"]
    assert declared["required"] is True
    assert _JSON not in [*declared["content"]][1:]
    objects = _objects(declared["content"].get(_JSON, {}).get("schema", {}))
    assert {pointer for pointer, each in objects if each.get("additionalProperties") is not False} == set()


def test_errors_have_one_body() -> None:
    """Every error of every operation has the schema ErrorBody, except the 503 of GET /health."""
    schemas = {
        yaml.safe_dump(response["content"][_JSON]["schema"])
        for operation, declared in _operations().items()
        for status, response in declared["responses"].items()
        if status >= "400" and (operation, status) != ("GET /health", "503")
    }
    assert schemas == {yaml.safe_dump(_components()["schemas"]["ErrorBody"])}


def test_countries_are_iso_3166() -> None:
    """The pattern accepts the officially assigned codes in any case, and no other pair of letters."""
    checker = compile_schema(_components()["schemas"]["Country"])
    accepted = {a + b for a, b in product(ascii_letters, repeat=2) if not checker.violations(a + b, "body")}
    assigned = {country.alpha_2 for country in pycountry.countries}
    assert accepted == {a + b for a, b in product(ascii_letters, repeat=2) if (a + b).upper() in assigned}


@pytest.mark.parametrize("text", ["", "r", "rus", "ru\n", " ru", "ru ", "рф", "r1", "ru,us"])
def test_country_is_two_letters(text: str) -> None:
    """A country has two letters."""
    assert compile_schema(_components()["schemas"]["Country"]).violations(text, "body")


def _examples() -> Iterator[tuple[str, Any, Any]]:
    """Yield every example of the file: its location, its schema and its value."""
    for name, schema in _components()["schemas"].items():
        yield from _of_schema(name, schema)
    for kind in ("parameters", "headers"):
        for name, declared in _components()[kind].items():
            yield from _of_schema(name, declared["schema"])
            yield name, declared["schema"], declared["example"]
    for name, declared in _operations().items():
        contents = [(status, response) for status, response in declared["responses"].items()]
        if "requestBody" in declared:
            contents.append(("request", declared["requestBody"]))
        for part, described in [each for each in contents if each[0] != "304"]:
            for media_type, media in described["content"].items():
                for example, content in media["examples"].items():
                    yield f"{name} {part} {media_type} {example}", media["schema"], content["value"]


def _of_schema(name: str, schema: Any) -> Iterator[tuple[str, Any, Any]]:
    if "example" in schema:
        yield name, schema, schema["example"]
    for member, inner in schema.get("properties", {}).items():
        yield from _of_schema(f"{name}.{member}", inner)
    if "items" in schema:
        yield from _of_schema(f"{name}[]", schema["items"])


@all_cases(("schema", "value"), [pytest.param(*rest, id=name) for name, *rest in _examples()])
def test_example_matches_its_schema(schema: Any, value: Any) -> None:
    """An example matches its schema."""
    assert compile_schema(schema).violations(value, "body") == []


def _members(schema: Any) -> set[str]:
    """Return the names of all members of a schema."""
    parts = [*schema.get("properties", {}).values(), *schema.get("oneOf", []), schema.get("items", {})]
    return {*schema.get("properties", {})}.union(*(_members(part) for part in parts if part))


def _objects(schema: Any, pointer: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the objects of a schema with pointers to them."""
    if schema.get("type") == "object":
        yield pointer, schema
    inner = [*schema.get("properties", {}).items(), *enumerate(schema.get("oneOf", []))]
    if "items" in schema:
        inner.append(("items", schema["items"]))
    for name, part in inner:
        yield from _objects(part, f"{pointer}/{name}")
