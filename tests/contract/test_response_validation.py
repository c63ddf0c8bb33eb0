"""Response validation: an invalid response becomes a 500."""

import logging
from pathlib import Path
from typing import Any

import pytest

from promo_api.contract import response_validation
from tests.contract.asgi import Answer, ask
from tests.contract.tiny import contract, operation, query, serve

_LIST = {"type": "array", "items": {"type": "integer"}}
_COUNT = {"X-Total-Count": {"required": True, "schema": {"type": "integer", "minimum": 2}}}


def _answered(
    tmp_path: Path, responses: dict[str, Any], operation_id: str = "echo.show_page", *, on: bool = True
) -> Answer:
    document = contract({"/x": {"get": operation(operation_id, responses=responses)}})
    return ask(serve(tmp_path / "api.yml", document, validate_responses=on), "GET", "/api/x")


def _response(schema: Any, **headers: Any) -> dict[str, Any]:
    return {"description": "It went well.", "headers": headers, "content": {"application/json": {"schema": schema}}}


def test_answer_that_keeps_the_contract(tmp_path: Path) -> None:
    """A valid response is not changed."""
    answer = _answered(tmp_path, {"200": _response(_LIST, **_COUNT)})
    assert (answer.status, answer.json(), answer.header("x-total-count")) == (200, [1, 2], "2")


def test_header_that_an_answer_need_not_have(tmp_path: Path) -> None:
    """A header that is not required may be missing."""
    answer = _answered(tmp_path, {"200": _response(_LIST, **{"X-Other": {"schema": {"type": "integer"}}})})
    assert (answer.status, answer.header("x-other")) == (200, None)


@pytest.mark.parametrize(
    ("responses", "told"),
    [
        ({"200": _response({"type": "object"}, **_COUNT)}, "must be of type object"),
        ({"200": _response({**_LIST, "maxItems": 1}, **_COUNT)}, "must have at most 1 items"),
        ({"200": _response(_LIST, **{"X-Total-Count": {"schema": {"type": "integer", "minimum": 3}}})}, "at least 3"),
        ({"200": _response(_LIST, **{"X-Other": {"required": True, "schema": {"type": "integer"}}})}, "/X-Other"),
        ({"201": _response(_LIST)}, "is not documented"),
    ],
)
def test_answer_that_breaks_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, responses: dict[str, Any], told: str
) -> None:
    """An invalid response becomes a 500, and the log has the operation and the violations."""
    with caplog.at_level(logging.ERROR, response_validation.__name__):
        answer = _answered(tmp_path, responses)
    assert (answer.status, answer.json()["status"]) == (500, "error")
    (record,) = [record for record in caplog.records if record.name == response_validation.__name__]
    fields = vars(record)
    assert (record.getMessage(), fields["operation"], fields["status"]) == (
        "response_invalid",
        "echo.show_page",
        200,
    )
    assert told in fields["violations"][0]


def test_error_answers_are_held_too(tmp_path: Path) -> None:
    """An undocumented error status is an invalid response, and a 500 stays a 500."""
    assert _answered(tmp_path, {"200": _response(_LIST)}, "echo.fail").status == 500
    refused = contract({"/x": {"get": operation("echo.show_page", responses={"200": _response(_LIST)})}})
    app = serve(tmp_path / "other.yml", refused, validate_responses=True)
    assert ask(app, "GET", "/api/x?y=1").status == 500
    assert ask(app, "PUT", "/api/x").status == 405


def test_off_unless_asked_for(tmp_path: Path) -> None:
    """Response validation is off by default."""
    assert _answered(tmp_path, {"201": _response(_LIST)}, on=False).status == 200


def test_undocumented_503(tmp_path: Path) -> None:
    """A 503 that the operation does not document is an invalid response like any other status."""
    error = query("error", {"type": "string"})
    refuse = operation("echo.refuse", parameters=[error], responses={"200": _response(_LIST)})
    app = serve(tmp_path / "api.yml", contract({"/x": {"get": refuse}}), validate_responses=True)
    assert ask(app, "GET", "/api/x?error=Overloaded").status == 500
