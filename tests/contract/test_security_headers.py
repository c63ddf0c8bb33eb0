"""Security headers of responses, and those of the documentation."""

from pathlib import Path

import pytest
from starlette.types import ASGIApp

from promo_api.contract.security_headers import SECURITY_HEADERS
from tests.cases import all_cases
from tests.contract.asgi import Response, call
from tests.contract.sample_api import contract, operation, serve

# What the documentation sets itself.
OWN = ("cache-control", "content-security-policy")


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
        ("GET", "/nosuch", 404),
        ("GET", "/", 307),
        ("POST", "/api/success", 405),
        ("OPTIONS", "/api/success", 405),
        ("POST", "/api/docs", 405),
        ("GET", "/api/failure", 500),
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


@pytest.mark.parametrize("path", ["docs", "docs/page.js", "docs/page.css", "docs/icon.svg", "openapi.json"])
def test_documentation(app: ASGIApp, path: str) -> None:
    """The documentation has its own cache policy, the page its own content policy, and all have the other headers."""
    response = call(app, "GET", f"/api/{path}")
    headers, usual = _security_headers(response), {name.decode(): value.decode() for name, value in SECURITY_HEADERS}
    assert (response.status, headers["cache-control"]) == (200, "no-cache")
    assert {name: value for name, value in headers.items() if name not in OWN} == {
        name: value for name, value in usual.items() if name not in OWN
    }
    assert "frame-ancestors 'none'" in (headers["content-security-policy"] or "")
