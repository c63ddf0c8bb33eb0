"""ETag, If-None-Match and Cache-Control, as an operation declares them."""

import re
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp

from promo_api.contract.conditional_requests import Validators
from tests.cases import all_cases
from tests.contract.asgi import Response, call
from tests.contract.handlers.echo import LARGE
from tests.contract.sample_api import contract, operation, serve
from tests.specification import specification

_TAG = {"required": True, "schema": {"type": "string"}}
_CACHE = {"required": True, "schema": {"type": "string", "enum": ["private, no-cache"]}}
_CONDITION = specification()["components"]["parameters"]["IfNoneMatch"]


def _app(folder: Path, operation_id: str = "echo.show_page", **more: Any) -> ASGIApp:
    headers = more.pop("headers", {"ETag": _TAG, "Cache-Control": _CACHE})
    content = {"application/json": {"schema": {}}}
    responses = {
        "200": {"description": "Success.", "headers": headers, "content": content},
        "304": {"description": "Unchanged.", "headers": {"ETag": _TAG}},
        "400": {"description": "Invalid.", "content": content},
    }
    declared = operation(operation_id, responses=responses, parameters=[_CONDITION], **more)
    document = contract({"/x": {"get": declared}})
    return serve(folder / "api.json", document, validate_responses=True)


def _get(app: ASGIApp, tag: str | None = None, *, method: str = "GET", accepted: str = "") -> Response:
    headers = [("if-none-match", tag)] * (tag is not None) + [("accept-encoding", accepted)] * bool(accepted)
    return call(app, method, "/api/x", headers=headers)


def _tag(response: Response) -> str:
    tag = response.header("etag")
    assert tag is not None
    return tag


def test_unchanged(tmp_path: Path) -> None:
    """A response has the same entity tag again; a request with it gets a 304 without a body."""
    app = _app(tmp_path)
    first, second = _get(app), _get(app)
    assert re.fullmatch(r'"[0-9a-f]{32}"', _tag(first))
    assert (first.status, first.headers) == (200, second.headers)
    unchanged = _get(app, _tag(first))
    assert (unchanged.status, unchanged.content, unchanged.raised) == (304, b"", None)
    assert (unchanged.header("content-type"), unchanged.header("content-length")) == (None, None)
    kept = ("etag", "cache-control", "x-total-count", "x-content-type-options")
    assert [unchanged.header(name) for name in kept] == [first.header(name) for name in kept]
    assert first.header("cache-control") == "private, no-cache"


@all_cases("condition", ["*", "{}", "W/{}", '"a", {}', '{},"a"', 'W/"a", W/{}, "b"', '"", {}'])
def test_matching_conditions(tmp_path: Path, condition: str) -> None:
    """`*` and a list with the tag match, also if a proxy has made the tag weak."""
    app = _app(tmp_path)
    assert _get(app, condition.format(_tag(_get(app)))).status == 304


@all_cases("condition", ['""', '"a"', '"a", "b"', 'W/"a"', '"0123456789abcdef"', '"*"'])
def test_other_conditions(tmp_path: Path, condition: str) -> None:
    """Another tag does not match."""
    assert _get(_app(tmp_path), condition).status == 200


@all_cases("condition", ["", "a", '"a', 'w/"a"', "*, *", "*" * 1001, '"a" "b"', '"a";', "W/*", '"a"\x7f'])
def test_malformed_conditions(tmp_path: Path, condition: str) -> None:
    """A malformed header is a 400 with its name."""
    response = _get(_app(tmp_path), condition)
    assert response.status == 400
    assert {(detail["in"], detail["pointer"]) for detail in response.details()} == {("header", "/If-None-Match")}


def test_head(tmp_path: Path) -> None:
    """HEAD has the entity tag of GET, and gets a 304 too."""
    app = _app(tmp_path)
    head = _get(app, method="HEAD")
    assert _tag(head) == _tag(_get(app))
    assert _get(app, _tag(head), method="HEAD").status == 304


def test_compressed_responses(tmp_path: Path) -> None:
    """A response that may be compressed has one weak tag for both forms, and Vary, also in a 304."""
    app = _app(tmp_path, "echo.show_large", **{"x-compress": True})
    plain, compressed = _get(app), _get(app, accepted="gzip")
    assert (plain.json(), compressed.header("content-encoding")) == (LARGE, "gzip")
    assert _tag(plain) == _tag(compressed)
    assert re.fullmatch(r'W/"[0-9a-f]{32}"', _tag(plain))
    for accepted in ("", "gzip"):
        unchanged = _get(app, _tag(plain), accepted=accepted)
        assert (unchanged.status, unchanged.content, unchanged.header("vary")) == (304, b"", "Accept-Encoding")
        assert unchanged.header("content-encoding") is None


def test_total_of_a_page(tmp_path: Path) -> None:
    """The tag of a page changes with the total, although the page is the same."""
    tags = {_tag(_get(_app(tmp_path, f"echo.show_page{suffix}"))) for suffix in ("", "_of_more")}
    assert len(tags) == 2


def test_version(tmp_path: Path) -> None:
    """A handler's version is the first part of the tag."""
    tag = _tag(_get(_app(tmp_path, "echo.show_version")))
    assert re.fullmatch(r'"version-1\.[0-9a-f]{32}"', tag)
    assert _get(_app(tmp_path, "echo.show_version"), '"version-1.0"').status == 200


def test_operation_without_the_headers(tmp_path: Path) -> None:
    """An operation that declares no ETag has none, and its response is never a 304."""
    app = _app(tmp_path, headers={})
    for condition in (None, "*"):
        response = _get(app, condition)
        assert (response.status, response.header("etag"), response.header("cache-control")) == (200, None, "no-store")


def test_errors_have_no_tag(tmp_path: Path) -> None:
    """An error has no entity tag, must not be stored, and is no 304."""
    response = _get(_app(tmp_path, "echo.fail"), "*")
    assert (response.status, response.header("etag"), response.header("cache-control")) == (500, None, "no-store")


@pytest.mark.parametrize("name", ["X-Total-Count", "X-Next-Cursor"])
def test_tag_has_the_headers_of_a_page(name: str) -> None:
    """The tag of a page changes with its total and its next page, although the body is the same."""
    validators = Validators(has_tag=True, is_weak=False, cache_control=None)
    tags = {validators.add_to(headers, b"[]")["ETag"] for headers in ({}, {name: "1"}, {name: "2"})}
    assert len(tags) == 3
