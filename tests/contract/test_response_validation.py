"""Response validation: an invalid response becomes a 500."""

import logging
from pathlib import Path
from typing import Any

import pytest

from promo_api.contract import response_validation
from promo_api.contract.schemas import compile_schema
from tests.contract.asgi import Response, call
from tests.contract.sample_api import contract, operation, query, serve

_LIST = {"type": "array", "items": {"type": "integer"}}
_COUNT = {"X-Total-Count": {"required": True, "schema": {"type": "integer", "minimum": 2}}}


def _response_of(
    tmp_path: Path, responses: dict[str, Any], operation_id: str = "echo.show_page", *, on: bool = True
) -> Response:
    document = contract({"/x": {"get": operation(operation_id, responses=responses)}})
    return call(serve(tmp_path / "api.yml", document, validate_responses=on), "GET", "/api/x")


def _response(schema: Any, **headers: Any) -> dict[str, Any]:
    return {"description": "It went well.", "headers": headers, "content": {"application/json": {"schema": schema}}}


def test_valid_response(tmp_path: Path) -> None:
    """A valid response is not changed."""
    response = _response_of(tmp_path, {"200": _response(_LIST, **_COUNT)})
    assert (response.status, response.json(), response.header("x-total-count")) == (200, [1, 2], "2")


def test_optional_header(tmp_path: Path) -> None:
    """A header that is not required may be missing."""
    response = _response_of(tmp_path, {"200": _response(_LIST, **{"X-Other": {"schema": {"type": "integer"}}})})
    assert (response.status, response.header("x-other")) == (200, None)


def test_undeclared_code(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The examples of an error response are its codes; another code is a violation."""
    body = {"type": "object", "additionalProperties": {}, "properties": {"code": {"type": "string"}}}

    def served(*codes: str) -> Response:
        content = {"schema": body, "examples": {code: {"value": {"code": code}} for code in codes}}
        response = {"description": "Refused.", "content": {"application/json": content}}
        paths = {
            "/refuse": {
                "get": operation(
                    "echo.refuse",
                    parameters=[query("error", {"type": "string"}, required=True)],
                    responses={"403": response},
                )
            }
        }
        app = serve(tmp_path / "api.yml", contract(paths), validate_responses=True)
        return call(app, "GET", "/api/refuse?error=NotOwner")

    assert served("promo_expired", "not_owner").status == 403
    assert served("promo_expired").status == 500
    assert "/code is not in the examples" in str(vars(caplog.records[-1])["violations"])


@pytest.mark.parametrize(
    ("responses", "message"),
    [
        ({"200": _response({"type": "object"}, **_COUNT)}, "must be an object"),
        ({"200": _response({**_LIST, "maxItems": 1}, **_COUNT)}, "must have at most 1 item"),
        ({"200": _response(_LIST, **{"X-Total-Count": {"schema": {"type": "integer", "minimum": 3}}})}, "at least 3"),
        ({"200": _response(_LIST, **{"X-Other": {"required": True, "schema": {"type": "integer"}}})}, "/X-Other"),
        ({"201": _response(_LIST)}, "is not documented"),
    ],
)
def test_invalid_response(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, responses: dict[str, Any], message: str
) -> None:
    """An invalid response becomes a 500, and the log has the operation and the violations."""
    with caplog.at_level(logging.ERROR, response_validation.__name__):
        response = _response_of(tmp_path, responses)
    assert (response.status, response.json()["status"]) == (500, "error")
    (record,) = [record for record in caplog.records if record.name == response_validation.__name__]
    fields = vars(record)
    assert (record.getMessage(), fields["operation"], fields["status"]) == (
        "response_invalid",
        "echo.show_page",
        200,
    )
    assert message in fields["violations"][0]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"kind": "a"}, []),
        ({"kind": "a", "parts": [{}]}, []),
        ({"kind": "a", "new": 1}, ["/new"]),
        ({"kind": "a", "parts": [{"new": 1}]}, ["/parts/0/new"]),
        ({"kind": "b"}, ["/kind"]),
    ],
)
def test_only_what_is_described(body: Any, pointers: list[str]) -> None:
    """The server must not send members and values that are not described, although clients must expect them."""
    kind = {"type": "string", "x-extensible-enum": ["a"]}
    part = {"type": "object", "additionalProperties": True, "properties": {"kind": kind}}
    whole = {**part, "properties": {"kind": kind, "parts": {"type": "array", "items": part}}}
    schema = response_validation.closed(whole)
    assert [each.pointer for each in compile_schema(schema).violations(body, "body")] == pointers


def test_error_responses_are_validated_too(tmp_path: Path) -> None:
    """An undocumented error status is an invalid response, and a 500 stays a 500."""
    assert _response_of(tmp_path, {"200": _response(_LIST)}, "echo.fail").status == 500
    refused = contract({"/x": {"get": operation("echo.show_page", responses={"200": _response(_LIST)})}})
    app = serve(tmp_path / "other.yml", refused, validate_responses=True)
    assert call(app, "GET", "/api/x?y=1").status == 500
    assert call(app, "PUT", "/api/x").status == 405


def test_off_by_default(tmp_path: Path) -> None:
    """Response validation is off by default."""
    assert _response_of(tmp_path, {"201": _response(_LIST)}, on=False).status == 200


def test_undocumented_503(tmp_path: Path) -> None:
    """A 503 that the operation does not document is an invalid response like any other status."""
    error = query("error", {"type": "string"})
    refuse = operation("echo.refuse", parameters=[error], responses={"200": _response(_LIST)})
    app = serve(tmp_path / "api.yml", contract({"/x": {"get": refuse}}), validate_responses=True)
    assert call(app, "GET", "/api/x?error=Overloaded").status == 500
