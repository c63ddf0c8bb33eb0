"""Routing: a path matches exactly or is 404, `Allow` has all methods of a path, and HEAD is answered like GET."""

from itertools import product
from pathlib import Path

import pytest
from starlette.types import ASGIApp

from tests.cases import all_cases
from tests.contract.asgi import Response, call
from tests.contract.sample_api import contract, operation, query, serve
from tests.operations import allowed_methods
from tests.specification import specification

PATHS = specification()["paths"]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY", "get", ""]
ID = "0b6f2d9e-3c1a-4f57-8e0d-2a9b7c4d1e63"


def _target(template: str) -> str:
    return "/api" + template.replace("{id}", ID).replace("{comment_id}", ID)


def _assert_error(response: Response, status: int) -> None:
    assert (response.status, response.raised) == (status, None)
    assert response.header("content-type") == "application/json"
    assert response.header("location") is None
    body = response.json()
    assert body["status"] == "error"
    assert body["message"]
    assert body.keys() <= {"status", "code", "message", "details"}


@all_cases(("template", "method"), [*product(PATHS, METHODS)])
def test_every_path_with_every_method(service: ASGIApp, template: str, method: str) -> None:
    """Every documented method and HEAD are routed; any other method is 405 with `Allow`."""
    response = call(service, method, _target(template))
    if method in allowed_methods(template):
        # No dependency is available, which GET /health reports.
        assert response.status in ((503,) if template == "/health" else (200, 400, 401))
    else:
        _assert_error(response, 405)
        assert response.header("allow") == ", ".join(sorted(allowed_methods(template)))


SUFFIXES = ["%0A", "%00", "%20", "%FF", "%E2%80%AE", ";x=1", ".json", "%3Fx=1", "%23x", "%25"]
# Paths that another one with an id matches too.
_LIKE_IDS = ("/user/promo/history", "/business/redemptions/validate")
LITERAL_PATHS = [template for template in PATHS if not template.endswith("}") and template not in _LIKE_IDS]
SLASHES = ["{}/", "{}//", "{}%2F", "{}%2f%2F", "/{}", "/.{}", "/%2e{}", "%2F{}"]


@all_cases(("template", "suffix"), [*product(LITERAL_PATHS, SUFFIXES)])
def test_path_with_a_suffix(service: ASGIApp, template: str, suffix: str) -> None:
    """A path with an addition is 404."""
    _assert_error(call(service, "GET", _target(template) + suffix), 404)


@all_cases(("template", "way"), [*product(PATHS, SLASHES)])
def test_extra_slashes(service: ASGIApp, template: str, way: str) -> None:
    """An extra slash, escaped or not, is 404 and never a redirect."""
    _assert_error(call(service, "GET", way.format(_target(template))), 404)


@all_cases(
    "target",
    [
        "",
        "//api/ping",
        "/api//ping",
        "/api/./ping",
        "/api/user/../ping",
        "/ping",
        "/API/ping",
        "/api/Ping",
        "/apix/ping",
        "/api/ping/%2e%2e/ping",
        "/api/user/promo/",
        "/api/user/promo//like",
        "/api/user/promo/history/like/x",
        f"/api/user/promo/{ID}/comments/",
        "/api/user/promo/a%0Ab/nosuch",
        "/api/" + "x" * 60_000,
        "/api" + "/x" * 30_000,
        "/api/%F0%9F%98%80",
        "/api/user/{id}",
        "*",
    ],
)
@all_cases("method", ["GET", "POST", "OPTIONS"])
def test_unknown_paths(service: ASGIApp, method: str, target: str) -> None:
    """An unknown path is 404 with the common error body, for every method."""
    _assert_error(call(service, method, target), 404)


@all_cases(
    ("target", "hint"),
    [
        ("/ping", " All paths begin with /api/."),
        ("/API/ping", " All paths begin with /api/."),
        ("/apix", " All paths begin with /api/."),
        ("/api/ping/", " Leave out the slash at the end of the path."),
        (f"/api/user/promo/{ID}/comments/", " Leave out the slash at the end of the path."),
        ("/api/ping//", ""),
        ("/api/pong/", ""),
        ("/api/pong", ""),
    ],
)
def test_hints_about_paths(service: ASGIApp, target: str, hint: str) -> None:
    """A path without its prefix or with a slash at its end gets a hint."""
    response = call(service, "GET", target)
    _assert_error(response, 404)
    assert response.json()["message"] == f"Not found.{hint}"


@pytest.mark.parametrize("escaped", ["%2F", "%2f"])
def test_escaped_slash_is_no_separator(service: ASGIApp, escaped: str) -> None:
    """An escaped slash is part of a value, so that a proxy and the service agree on the path."""
    _assert_error(call(service, "PUT", f"/api/user/promo/{ID}{escaped}like"), 404)


@all_cases(
    "value",
    [
        "%0A",
        "a%0Ab",
        "%00",
        "%FF",
        "%20",
        "-",
        "{id}",
        "%7Bid%7D",
        "..",
        ".",
        "x" * 5000,
        "history%0A",
        f"{ID}%0A",
        ID.replace("-", ""),
    ],
)
def test_path_parameter_matches_any_segment(service: ASGIApp, value: str) -> None:
    """A path with a malformed id is routed, and 401 outranks 400."""
    _assert_error(call(service, "GET", f"/api/user/promo/{value}"), 401)
    _assert_error(call(service, "PUT", f"/api/user/promo/{value}"), 405)


def test_literal_path_outranks_a_parameter(service: ASGIApp) -> None:
    """`history` is not an id."""
    assert call(service, "POST", "/api/user/promo/history").header("allow") == "GET, HEAD"
    assert call(service, "POST", "/api/user/promo/history/like").status == 401


@pytest.mark.parametrize("order", [["/x/{id}", "/x/new", "/{id}/new"], ["/{id}/new", "/x/new", "/x/{id}"]])
def test_order_in_the_file_does_not_matter(tmp_path: Path, order: list[str]) -> None:
    """A literal segment outranks a parameter, regardless of the order in the file."""
    parameters = [query("id", {"type": "string"}, place="path", required=True)]
    ways = {
        "/x/{id}": {"get": operation("echo.show", parameters=parameters)},
        "/x/new": {"get": operation("echo.show_page")},
        "/{id}/new": {"get": operation("echo.show_too", parameters=parameters)},
    }
    app = serve(tmp_path / "api.yml", contract({path: ways[path] for path in order}))
    assert call(app, "GET", "/api/x/new").json() == [1, 2]
    assert call(app, "GET", "/api/x/old").json()["arguments"] == {"id": "old"}
    assert call(app, "GET", "/api/y/new").json()["arguments"] == {"id": "y"}


def test_escapes_are_decoded_once(service: ASGIApp) -> None:
    """A path is unescaped once."""
    assert call(service, "GET", "/api/%70ing").status == 200
    _assert_error(call(service, "GET", "/api/%2570ing"), 404)


def test_405_outranks_400_and_401(service: ASGIApp) -> None:
    """405 outranks every other error of a request."""
    _assert_error(
        call(service, "DELETE", "/api/business/promo?nosuch=%FF", headers=[("content-type", "x")], body=b"\xff"), 405
    )


def test_specification_is_served(service: ASGIApp) -> None:
    """The served specification is api.yml as it was written, so that schemas keep their names."""
    written = specification()
    assert call(service, "GET", "/api/openapi.json").json() == written
