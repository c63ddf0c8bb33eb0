"""Security headers of responses, and those of the documentation."""

from pathlib import Path

import pytest
from starlette.types import ASGIApp

from promo_api.contract.security_headers import SECURITY_HEADERS
from tests.cases import all_cases
from tests.contract.asgi import Response, call
from tests.contract.sample_api import contract, operation, serve

EVERYWHERE = ("referrer-policy", "x-content-type-options", "x-frame-options")
FILES = ["", "page.js", "page.css", "swagger-ui.css", "swagger-ui-bundle.js", "favicon-16x16.png"]


@pytest.fixture
def app(tmp_path: Path) -> ASGIApp:
    """An application with an operation that succeeds, one that fails and one that needs a token."""
    paths = {
        "/success": {"get": operation()},
        "/failure": {"get": operation("echo.fail")},
        "/secured": {"get": operation("echo.show_too", security=[{"account": []}])},
    }
    return serve(tmp_path / "api.json", contract(paths))


def _security_headers(response: Response) -> dict[str, str | None]:
    return {name.decode(): response.header(name.decode()) for name, _ in SECURITY_HEADERS}


@all_cases(
    ("method", "target", "status"),
    [
        ("GET", "/api/success", 200),
        ("GET", "/api/success?no=1", 400),
        ("GET", "/api/secured", 401),
        ("GET", "/api/nosuch", 404),
        ("GET", "/", 404),
        ("POST", "/api/success", 405),
        ("OPTIONS", "/api/success", 405),
        ("POST", "/api/ui/", 405),
        ("GET", "/api/failure", 500),
        ("GET", "/api/openapi.json", 200),
    ],
)
def test_every_response(app: ASGIApp, method: str, target: str, status: int) -> None:
    """Each response has each security header once."""
    response = call(app, method, target)
    assert response.status == status
    assert _security_headers(response) == {
        "cache-control": "no-store",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }


@pytest.mark.parametrize("name", FILES)
def test_documentation(app: ASGIApp, name: str) -> None:
    """The page and its files have their own cache and content policies, and the other security headers."""
    response = call(app, "GET", f"/api/ui/{name}")
    headers, usual = _security_headers(response), {name.decode(): value.decode() for name, value in SECURITY_HEADERS}
    assert (response.status, headers["cache-control"]) == (200, "no-cache")
    assert {name: headers[name] for name in EVERYWHERE} == {name: usual[name] for name in EVERYWHERE}
    assert "frame-ancestors 'none'" in (headers["content-security-policy"] or "")


def test_unchanged_file_is_304(app: ASGIApp) -> None:
    """A file of the page that has not changed is not sent again."""
    first = call(app, "GET", "/api/ui/swagger-ui-bundle.js")
    response = call(app, "GET", "/api/ui/swagger-ui-bundle.js", headers=[("if-none-match", first.header("etag") or "")])
    assert (response.status, response.content, response.header("cache-control")) == (304, b"", "no-cache")
