"""Compression: only large responses of operations with `x-compress`, for clients that accept gzip."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from connexion.spec import Specification
from starlette.types import ASGIApp

from promo_api.app import SPECIFICATION
from tests.contract.asgi import Response, call
from tests.contract.handlers.echo import LARGE
from tests.contract.sample_api import contract, operation, serve

_SECRET_MEMBERS = {"code", "promo_common", "promo_unique", "promo", "token"}


def _app(tmp_path: Path, operation_id: str = "echo.show_large", *, marked: bool = True, **options: Any) -> ASGIApp:
    schema = {"type": "array", "items": {"type": "string", "maxLength": options.pop("length", 100)}}
    responses = {"200": {"description": "It went well.", "content": {"application/json": {"schema": schema}}}}
    mark = {"x-compress": True} if marked else {}
    document = contract({"/x": {"get": operation(operation_id, responses=responses, **mark)}})
    return serve(tmp_path / "api.yml", document, **options)


def _get(app: ASGIApp, *accepted: str) -> Response:
    return call(app, "GET", "/api/x", headers=[("accept-encoding", value) for value in accepted])


@pytest.mark.parametrize(
    "accepted",
    [
        ["gzip"],
        ["GZIP"],
        ["x-gzip"],
        ["br, gzip, deflate"],
        ["br", "gzip"],
        ["gzip;q=0.001"],
        ["gzip ; Q=1.000"],
        ["*"],
        ["*;q=0.5, br;q=0"],
        ["*;q=0, gzip;q=0.1"],
        ["identity;q=0.5, gzip"],
        ["identity;q=0, gzip;q=0.1"],
    ],
)
def test_accepted(tmp_path: Path, accepted: list[str]) -> None:
    """A client that accepts gzip gets the same JSON compressed, with its length."""
    response = _get(_app(tmp_path), *accepted)
    assert (response.status, response.header("content-encoding")) == (200, "gzip")
    assert (response.header("vary"), response.header("content-type")) == ("Accept-Encoding", "application/json")
    assert response.header("content-length") == str(len(response.content))
    assert len(response.content) < 2000
    plain = _get(_app(tmp_path))
    assert gzip.decompress(response.content) == plain.content
    assert plain.json() == LARGE


@pytest.mark.parametrize(
    "accepted",
    [
        [],
        [""],
        ["br, deflate"],
        ["gzip;q=0"],
        ["gzip;q=0.000"],
        ["gzip;q=0, *"],
        ["*;q=0"],
        ["identity"],
        ["gzip;q=0.5, identity;q=0.6"],
        ["gzip;q=2"],
        ["gzip;q=-1"],
        ["gzip;q="],
        ["gzip;level=1"],
        ["gzipped"],
    ],
)
def test_refused(tmp_path: Path, accepted: list[str]) -> None:
    """Any other client gets the plain response, with Vary."""
    response = _get(_app(tmp_path), *accepted)
    assert (response.status, response.header("content-encoding"), response.header("vary")) == (
        200,
        None,
        "Accept-Encoding",
    )
    assert response.header("content-length") == str(len(response.content))
    assert response.json() == LARGE


def test_small(tmp_path: Path) -> None:
    """A small response is never compressed."""
    response = _get(_app(tmp_path, "echo.show_page"), "gzip")
    assert (response.header("content-encoding"), response.header("vary"), response.json()) == (
        None,
        "Accept-Encoding",
        [1, 2],
    )
    assert response.header("x-total-count") == "2"


def test_operation_without_the_extension(tmp_path: Path) -> None:
    """An operation without `x-compress` is never compressed, and has no Vary header."""
    response = _get(_app(tmp_path, marked=False), "gzip")
    assert (response.header("content-encoding"), response.header("vary"), response.json()) == (None, None, LARGE)


@pytest.mark.parametrize(("length", "status"), [(100, 200), (10, 500)])
def test_response_validation(tmp_path: Path, length: int, status: int) -> None:
    """Response validation reads a compressed response like a plain one."""
    response = _get(_app(tmp_path, length=length, validate_responses=True), "gzip")
    assert (response.status, response.header("content-encoding")) == (status, "gzip" if status == 200 else None)


def test_vary_has_the_origin_too(tmp_path: Path) -> None:
    """For a page of another origin a response depends on the origin too."""
    app = _app(tmp_path, origins=["https://example.com"])
    headers = [("accept-encoding", "gzip"), ("origin", "https://example.com")]
    response = call(app, "GET", "/api/x", headers=headers)
    assert (response.header("content-encoding"), response.header("vary")) == ("gzip", "Accept-Encoding, Origin")


def _members(schema: Any) -> set[str]:
    """Return the names of all members of a schema."""
    parts = [*schema.get("properties", {}).values(), *schema.get("oneOf", []), schema.get("items", {})]
    return {*schema.get("properties", {}), *(name for part in parts if part for name in _members(part))}


def test_no_marked_operation_has_secrets() -> None:
    """No operation whose response has a code or a token has `x-compress`, and the lists for users have it."""
    marked = {
        operation["operationId"]: _members(operation["responses"]["200"]["content"]["application/json"]["schema"])
        for methods in Specification.load(SPECIFICATION)["paths"].values()
        for operation in methods.values()
        if operation.get("x-compress")
    }
    assert {name: secrets for name, members in marked.items() if (secrets := members & _SECRET_MEMBERS)} == {}
    assert {"user_promos.list_feed", "user_activations.list_history", "user_comments.list_comments"} <= marked.keys()
