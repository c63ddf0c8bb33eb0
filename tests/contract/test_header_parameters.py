"""Header parameters: parsed as strictly as query parameters."""

from pathlib import Path
from uuid import UUID

import pytest
from starlette.types import ASGIApp

from tests.contract.asgi import Header, Response, call
from tests.contract.sample_api import contract, operation, query, serve

_PARAMETERS = [
    query("X-Key", {"type": "string", "minLength": 1, "maxLength": 4, "pattern": "^[!-~]+$"}, place="header"),
    query("X-Few", {"type": "integer", "maximum": 5, "default": 3}, place="header"),
    query("X-Id", {"type": "string", "format": "uuid"}, place="header"),
    query("X-Codes", {"type": "array", "items": {"type": "string"}}, place="header"),
]
_UUID = "0b6f2d9e-3c1a-4f57-8e0d-2a9b7c4d1e63"


@pytest.fixture
def app(tmp_path: Path) -> ASGIApp:
    """An operation that shows which arguments it got."""
    return serve(tmp_path / "api.yml", contract({"/x": {"get": operation(parameters=_PARAMETERS)}}))


def _call(app: ASGIApp, *headers: Header) -> Response:
    return call(app, "GET", "/api/x", headers=headers)


def test_values(app: ASGIApp) -> None:
    """A header becomes an argument in lower case with underscores, converted by its schema."""
    response = _call(
        app, ("x-key", "a~!9"), ("X-FEW", "5"), ("x-id", _UUID), ("x-codes", "a,b"), ("x-codes", "c")
    ).json()
    assert response["arguments"] == {"x_key": "a~!9", "x_few": 5, "x_id": str(UUID(_UUID)), "x_codes": ["a", "b", "c"]}
    assert response["types"]["x_id"] == "UUID"


def test_missing(app: ASGIApp) -> None:
    """Without the header there is no argument, or the default; undeclared headers are ignored."""
    assert _call(app, ("x-other", "1")).json()["arguments"] == {"x_few": 3}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (("x-key", ""), "must match ^[!-~]+$"),
        (("x-key", "a b"), "must match ^[!-~]+$"),
        (("x-key", "a\tb"), "must match ^[!-~]+$"),
        (("x-key", "caf\xe9"), "must match ^[!-~]+$"),
        (("x-key", "abcde"), "must have at most 4 characters"),
        (("x-few", "+5"), "must be an integer, written as in JSON, such as 10"),
        (("x-few", "6"), "must be at most 5"),
        (("x-id", "x"), "must be a UUID such as 0b6f2d9e-3c1a-4f57-8e0d-2a9b7c4d1e63"),
    ],
)
def test_refusals(app: ASGIApp, header: Header, message: str) -> None:
    """An invalid header is 400, with its name and the rule."""
    response = _call(app, header)
    assert response.status == 400
    violations = [(detail["in"], detail["pointer"].lower(), detail["message"]) for detail in response.json()["details"]]
    assert violations == [("header", f"/{header[0]}", message)]


def test_repeated_header(app: ASGIApp) -> None:
    """A repeated header is refused, because a proxy may have checked either of them."""
    response = _call(app, ("x-key", "a"), ("x-key", "a"))
    assert response.status == 400
    assert response.json()["details"] == [{"in": "header", "pointer": "/X-Key", "message": "must be given once"}]


def test_required(tmp_path: Path) -> None:
    """A header that is required and missing is 400."""
    parameters = [query("X-Key", {"type": "string"}, place="header", required=True)]
    app = serve(tmp_path / "api.yml", contract({"/x": {"get": operation(parameters=parameters)}}))
    assert _call(app).json()["details"] == [{"in": "header", "pointer": "/X-Key", "message": "is required"}]
