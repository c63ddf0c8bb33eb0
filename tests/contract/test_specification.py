"""api.yml itself: is it OpenAPI, does it say what the design says, do its examples keep its rules?"""

from collections.abc import Iterator
from functools import cache
from itertools import product
from string import ascii_letters
from typing import Any, NamedTuple

import pycountry
import pytest
import yaml
from connexion.spec import Specification
from openapi_spec_validator import OpenAPIV30SpecValidator

from promo_api.app import SPECIFICATION
from promo_api.contract.schemas import compile_schema
from tests.cases import all_cases
from tests.specification import specification

_LISTS, _REPLAYS = "X-Total-Count", "Idempotent-Replayed"


class Row(NamedTuple):
    """A row of the table in the design: one operation."""

    operation: str
    operation_id: str
    account: str
    success: int
    others: str = ""
    header: str = ""


TABLE = [
    Row("GET /ping", "health.ping", "", 200),
    Row("GET /health", "health.get_health", "", 200),
    Row("POST /business/auth/sign-up", "business_auth.sign_up", "", 200, "400 409 429"),
    Row("POST /business/auth/sign-in", "business_auth.sign_in", "", 200, "400 401 429"),
    Row("POST /business/auth/sign-out", "business_auth.sign_out", "company", 200, "401"),
    Row("POST /business/promo", "business_promos.create_promo", "company", 201, "400 401 422 429", _REPLAYS),
    Row("GET /business/promo", "business_promos.list_promos", "company", 200, "400 401", _LISTS),
    Row("GET /business/promo/{id}", "business_promos.get_promo", "company", 200, "400 401 403 404"),
    Row("PATCH /business/promo/{id}", "business_promos.update_promo", "company", 200, "400 401 403 404"),
    Row("GET /business/promo/{id}/stat", "business_promos.get_promo_stat", "company", 200, "400 401 403 404"),
    Row("GET /business/promo/{id}/changes", "business_promos.list_changes", "company", 200, "400 401 403 404", _LISTS),
    Row("POST /user/auth/sign-up", "user_auth.sign_up", "", 200, "400 409 429"),
    Row("POST /user/auth/sign-in", "user_auth.sign_in", "", 200, "400 401 429"),
    Row("POST /user/auth/sign-out", "user_auth.sign_out", "user", 200, "401"),
    Row("GET /user/profile", "user_profile.get_profile", "user", 200, "401"),
    Row("PATCH /user/profile", "user_profile.update_profile", "user", 200, "400 401 429"),
    Row("DELETE /user/profile", "user_profile.delete_profile", "user", 200, "401 403 429"),
    Row("GET /user/export", "user_export.get_export", "user", 200, "401"),
    Row("GET /user/feed", "user_promos.list_feed", "user", 200, "400 401", _LISTS),
    Row("GET /user/promo/{id}", "user_promos.get_promo", "user", 200, "400 401 404"),
    Row(
        "POST /user/promo/{id}/activate",
        "user_activations.activate_promo",
        "user",
        200,
        "400 401 403 404 422 429",
        _REPLAYS,
    ),
    Row("GET /user/promo/{id}/eligibility", "user_activations.get_eligibility", "user", 200, "400 401 404"),
    Row("GET /user/promo/history", "user_activations.list_history", "user", 200, "400 401", _LISTS),
    Row("POST /user/promo/{id}/like", "user_likes.like_promo", "user", 200, "400 401 404 429"),
    Row("DELETE /user/promo/{id}/like", "user_likes.unlike_promo", "user", 200, "400 401 404 429"),
    Row("POST /user/promo/{id}/comments", "user_comments.create_comment", "user", 201, "400 401 404 422 429", _REPLAYS),
    Row("GET /user/promo/{id}/comments", "user_comments.list_comments", "user", 200, "400 401 404", _LISTS),
    Row("GET /user/promo/{id}/comments/{comment_id}", "user_comments.get_comment", "user", 200, "400 401 404"),
    Row("PUT /user/promo/{id}/comments/{comment_id}", "user_comments.update_comment", "user", 200, "400 401 403 404"),
    Row(
        "DELETE /user/promo/{id}/comments/{comment_id}", "user_comments.delete_comment", "user", 200, "400 401 403 404"
    ),
]


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


def _by_id(row: Row) -> str:
    return row.operation_id


def test_it_is_openapi() -> None:
    """The file is OpenAPI 3.0 by the judgement of a validator that is not ours."""
    assert [*OpenAPIV30SpecValidator(specification()).iter_errors()] == []


def test_operations_are_those_of_the_design() -> None:
    """No operation of the design is missing, and there is none beside them."""
    assert _operations().keys() == {row.operation for row in TABLE}


@all_cases("row", TABLE, ids=_by_id)
def test_names_function_and_account(row: Row) -> None:
    """An operation names its function, and the kind of account that may call it."""
    declared = _operations()[row.operation]
    assert declared["operationId"] == row.operation_id
    assert declared["security"] == ([{f"{row.account}Auth": []}] if row.account else [])


@all_cases("row", TABLE, ids=_by_id)
def test_documents_its_statuses(row: Row) -> None:
    """An operation documents what the design names and what the server can always answer, and nothing else."""
    declared = _operations()[row.operation]
    wanted = {str(row.success), "400", *row.others.split()}
    if row.operation_id != "health.ping":
        wanted.add("503")
    if "requestBody" in declared:
        wanted |= {"413", "415"}
    assert declared["responses"].keys() == wanted


@all_cases("row", TABLE, ids=_by_id)
def test_401_is_for_those_who_must_be_known(row: Row) -> None:
    """401 is documented where a token or a password is checked, and only there."""
    signs_in = row.operation_id.endswith(".sign_in")
    assert ("401" in _operations()[row.operation]["responses"]) == (bool(row.account) or signs_in)


@all_cases("row", TABLE, ids=_by_id)
def test_headers_of_answers(row: Row) -> None:
    """Lists, and only they, promise the number of all entries; what can be repeated tells that it has been."""
    response = _operations()[row.operation]["responses"][str(row.success)]
    assert [*response.get("headers", {})] == ([row.header] if row.header else [])


@all_cases("row", TABLE, ids=_by_id)
def test_what_can_be_repeated(row: Row) -> None:
    """The operations that tell of a repetition, and only they, take an Idempotency-Key, which nobody must send."""
    headers = [each for each in _operations()[row.operation].get("parameters", ()) if each["in"] == "header"]
    assert [each["name"] for each in headers] == (["Idempotency-Key"] if row.header == _REPLAYS else [])
    assert not any(each.get("required") for each in headers)


@all_cases("row", TABLE, ids=_by_id)
def test_answers_with_json_of_a_closed_form(row: Row) -> None:
    """Every response has one media type, and objects in it have no members but those described."""
    for response in _operations()[row.operation]["responses"].values():
        assert [*response["content"]] == ["application/json"]
        assert _open_objects(response["content"]["application/json"]["schema"]) == []


@all_cases("row", [row for row in TABLE if row.operation.split()[0] in ("POST", "PUT", "PATCH")], ids=_by_id)
def test_requests_are_closed(row: Row) -> None:
    """Every object of a request refuses members that are not described."""
    declared = _operations()[row.operation]
    bodiless = (
        "user_activations.activate_promo",
        "user_likes.like_promo",
        "business_auth.sign_out",
        "user_auth.sign_out",
    )
    takes_body = row.operation_id not in bodiless
    assert ("requestBody" in declared) == takes_body
    if takes_body:
        assert declared["requestBody"]["required"] is True
        assert _open_objects(declared["requestBody"]["content"]["application/json"]["schema"]) == []


def test_errors_have_one_body() -> None:
    """Every error of every operation has the schema Error, but for what GET /health says when something is away."""
    schemas = {
        yaml.safe_dump(response["content"]["application/json"]["schema"])
        for operation, declared in _operations().items()
        for status, response in declared["responses"].items()
        if status >= "400" and (operation, status) != ("GET /health", "503")
    }
    assert schemas == {yaml.safe_dump(_components()["schemas"]["Error"])}


def test_countries_are_those_of_the_iso() -> None:
    """The pattern takes the officially assigned codes in any case, and no other of the 52 x 52 pairs of letters."""
    checker = compile_schema(_components()["schemas"]["Country"])
    taken = {a + b for a, b in product(ascii_letters, repeat=2) if not checker.violations(a + b, "body")}
    assigned = {country.alpha_2 for country in pycountry.countries}
    assert taken == {a + b for a, b in product(ascii_letters, repeat=2) if (a + b).upper() in assigned}


@pytest.mark.parametrize("text", ["", "r", "rus", "ru\n", " ru", "ru ", "рф", "r1", "ru,us"])
def test_country_is_two_letters(text: str) -> None:
    """What is no pair of letters is no country."""
    assert compile_schema(_components()["schemas"]["Country"]).violations(text, "body")


def _examples() -> Iterator[tuple[str, Any, Any]]:
    """Yield every example of the file: where it stands, the schema that it must keep, and its value."""
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
        for part, described in contents:
            media = described["content"]["application/json"]
            for example, held in media["examples"].items():
                yield f"{name} {part} {example}", media["schema"], held["value"]


def _of_schema(name: str, schema: Any) -> Iterator[tuple[str, Any, Any]]:
    if "example" in schema:
        yield name, schema, schema["example"]
    for member, inner in schema.get("properties", {}).items():
        yield from _of_schema(f"{name}.{member}", inner)
    if "items" in schema:
        yield from _of_schema(f"{name}[]", schema["items"])


@all_cases(("schema", "value"), [pytest.param(*rest, id=name) for name, *rest in _examples()])
def test_example_keeps_its_schema(schema: Any, value: Any) -> None:
    """An example is what it is an example of."""
    assert compile_schema(schema).violations(value, "body") == []


def _open_objects(schema: Any, pointer: str = "") -> list[str]:
    """Return where a schema has objects that take any member."""
    found = [pointer] if schema.get("type") == "object" and schema.get("additionalProperties") is not False else []
    inner = [*schema.get("properties", {}).items(), *enumerate(schema.get("oneOf", []))]
    if "items" in schema:
        inner.append(("items", schema["items"]))
    for name, part in inner:
        found += _open_objects(part, f"{pointer}/{name}")
    return found
