"""The files of the documentation page."""

import re
from pathlib import Path

import pytest
from starlette.types import ASGIApp

from tests.contract.asgi import call
from tests.contract.sample_api import contract, operation, serve


@pytest.fixture
def app(tmp_path: Path) -> ASGIApp:
    """An application whose title contains special characters of HTML."""
    document = contract({"/thing": {"get": operation()}})
    document["info"]["title"] = "Tea & <b>Biscuits</b>"
    return serve(tmp_path / "api.json", document)


def test_title_is_escaped(app: ASGIApp) -> None:
    """The title of the page is the title of the contract, escaped for HTML."""
    assert "<title>Tea &amp; &lt;b&gt;Biscuits&lt;/b&gt;</title>" in call(app, "GET", "/api/ui/").content.decode()


def test_redirect_without_trailing_slash(app: ASGIApp) -> None:
    """The URL without the trailing slash redirects to the page by a relative URL."""
    response = call(app, "GET", "/api/ui")
    assert (response.status, response.header("location")) == (307, "/api/ui/")


def test_page_links_only_its_own_files(app: ASGIApp) -> None:
    """All links of the page are relative, and the linked files exist."""
    text = call(app, "GET", "/api/ui/").content.decode()
    links = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert len(links) == 7
    for link in links:
        assert re.fullmatch(r"(\.\./)?[a-z0-9.-]+", link)
        target = f"/api/{link.removeprefix('../')}" if link.startswith("../") else f"/api/ui/{link}"
        assert call(app, "GET", target).status == 200, link


@pytest.mark.parametrize("name", ["", "page.js", "page.css"])
def test_content_security_policy(app: ASGIApp, name: str) -> None:
    """The page may load scripts and send requests only from and to its own origin."""
    policy = call(app, "GET", f"/api/ui/{name}").header("content-security-policy") or ""
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == directives["connect-src"] == "'self'"


@pytest.mark.parametrize(
    "target",
    [
        "/ui",
        "/ui/",
        "/openapi.json",
        "/api/ui/index.html",
        "/api/ui/index.j2",
        "/api/ui/oauth2-redirect.html",
        "/api/ui/swagger-initializer.js",
        "/api/ui/swagger-ui.js",
    ],
)
def test_other_files_are_not_served(app: ASGIApp, target: str) -> None:
    """Other files of Swagger UI are not served, and the page only below the path of the contract."""
    assert call(app, "GET", target).status == 404


@pytest.mark.parametrize("target", ["/api/ui", "/api/ui/", "/api/ui/page.js", "/api/ui/swagger-ui.css"])
def test_method_not_allowed(app: ASGIApp, target: str) -> None:
    """Other methods get 405 with the common error body."""
    response = call(app, "POST", target, body=b"")
    assert (response.status, response.header("allow"), response.json()["status"]) == (405, "GET", "error")
