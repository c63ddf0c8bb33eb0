"""Security headers of responses, and those of the documentation."""

from pathlib import Path

import pytest
from starlette.types import ASGIApp

from promo_api.contract.security_headers import SECURITY_HEADERS
from tests.cases import all_cases
from tests.contract.asgi import Answer, ask
from tests.contract.tiny import contract, operation, serve

EVERYWHERE = ("referrer-policy", "x-content-type-options", "x-frame-options")
FILES = ["", "page.js", "page.css", "swagger-ui.css", "swagger-ui-bundle.js", "favicon-16x16.png"]


@pytest.fixture
def app(tmp_path: Path) -> ASGIApp:
    """An application of which one operation answers, one fails and one needs a token."""
    paths = {
        "/well": {"get": operation()},
        "/ill": {"get": operation("echo.fail")},
        "/secured": {"get": operation("echo.show_too", security=[{"account": []}])},
    }
    return serve(tmp_path / "api.json", contract(paths))


def _told(answer: Answer) -> dict[str, str | None]:
    return {name.decode(): answer.header(name.decode()) for name, _ in SECURITY_HEADERS}


@all_cases(
    ("method", "target", "status"),
    [
        ("GET", "/api/well", 200),
        ("GET", "/api/well?no=1", 400),
        ("GET", "/api/secured", 401),
        ("GET", "/api/nosuch", 404),
        ("GET", "/", 404),
        ("POST", "/api/well", 405),
        ("OPTIONS", "/api/well", 405),
        ("POST", "/api/ui/", 405),
        ("GET", "/api/ill", 500),
        ("GET", "/api/openapi.json", 200),
    ],
)
def test_every_answer(app: ASGIApp, method: str, target: str, status: int) -> None:
    """Each response has each security header once."""
    answer = ask(app, method, target)
    assert answer.status == status
    assert _told(answer) == {
        "cache-control": "no-store",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }


@pytest.mark.parametrize("name", FILES)
def test_documentation(app: ASGIApp, name: str) -> None:
    """The page and its files have their own cache and content policies, and the other security headers."""
    answer = ask(app, "GET", f"/api/ui/{name}")
    told, usual = _told(answer), {name.decode(): value.decode() for name, value in SECURITY_HEADERS}
    assert (answer.status, told["cache-control"]) == (200, "no-cache")
    assert {name: told[name] for name in EVERYWHERE} == {name: usual[name] for name in EVERYWHERE}
    assert "frame-ancestors 'none'" in (told["content-security-policy"] or "")


def test_file_that_the_browser_has(app: ASGIApp) -> None:
    """A file of the page that has not changed is not sent again."""
    first = ask(app, "GET", "/api/ui/swagger-ui-bundle.js")
    answer = ask(app, "GET", "/api/ui/swagger-ui-bundle.js", headers=[("if-none-match", first.header("etag") or "")])
    assert (answer.status, answer.content, answer.header("cache-control")) == (304, b"", "no-cache")
