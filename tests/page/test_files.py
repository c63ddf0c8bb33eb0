"""The documentation page without a browser: addresses, files and headers."""

import re
from importlib.resources import files
from pathlib import Path
from urllib.parse import urljoin

import pytest
from starlette.types import ASGIApp

from tests.cases import all_cases
from tests.contract.asgi import call
from tests.contract.sample_api import contract, operation, serve

_PAGE = "/api/docs"
_FILES = ["scalar.js", "accessibility.js", "page.js", "page.css", "icon.svg"]


@pytest.fixture
def app(tmp_path: Path) -> ASGIApp:
    """An application whose title contains special characters of HTML."""
    document = contract({"/thing": {"get": operation()}})
    document["info"]["title"] = "Tea & <b>Biscuits</b>"
    return serve(tmp_path / "api.json", document)


def test_title_is_escaped(app: ASGIApp) -> None:
    """The title of the page is the title of the contract, escaped for HTML."""
    assert "<title>Tea &amp; &lt;b&gt;Biscuits&lt;/b&gt;</title>" in call(app, "GET", _PAGE).content.decode()


@all_cases(
    ("path", "status"),
    [
        *((path, 307) for path in ("/", "/docs", "/docs/", "/api", "/api/", "/api/docs/")),
        *((path, 308) for path in ("/api/ui", "/api/ui/")),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_entrances(app: ASGIApp, method: str, path: str, status: int) -> None:
    """Other addresses redirect to the page, by a URL that is relative because a proxy may add a prefix."""
    response = call(app, method, path)
    location = response.header("location") or ""
    assert (response.status, response.content) == (status, b"")
    assert not location.startswith("/")
    for prefix in ("", "/prefix"):
        assert urljoin(f"https://api.example{prefix}{path}", location) == f"https://api.example{prefix}{_PAGE}"


def test_page_links_only_its_own_files(app: ASGIApp) -> None:
    """All links of the page are relative, and lead to its files and the contract."""
    links = re.findall(r'(?:src|href)="([^"]*)"', call(app, "GET", _PAGE).content.decode())
    assert sorted(links) == sorted(["openapi.json", *(f"docs/{name}" for name in _FILES)])
    assert [call(app, "GET", f"/api/{link}").status for link in links] == [200] * len(links)


def test_script_is_that_of_the_package(app: ASGIApp) -> None:
    """Scalar is served as its package contains it."""
    packaged = files("flask_openapi_scalar") / "templates" / "scalar" / "js" / "scalar.standalone.js"
    assert call(app, "GET", f"{_PAGE}/scalar.js").content == packaged.read_bytes()


def test_content_security_policy(app: ASGIApp) -> None:
    """Everything comes from and goes to the same origin. Only styles may be inline."""
    policy = call(app, "GET", _PAGE).header("content-security-policy") or ""
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


@all_cases("path", [_PAGE, "/api/openapi.json", *(f"{_PAGE}/{name}" for name in _FILES if name != "scalar.js")])
def test_caching(app: ASGIApp, path: str) -> None:
    """Browsers keep each file, and ask each time whether it has changed."""
    response = call(app, "GET", path)
    assert (response.status, response.header("cache-control")) == (200, "no-cache")
    tag = response.header("etag") or ""
    assert call(app, "GET", path, headers=[("if-none-match", tag)]).status == 304
    assert call(app, "HEAD", path).header("content-length") == str(len(response.content))


@all_cases(
    "target",
    [
        "/ui",
        "/openapi.json",
        "/docs/page.js",
        "/apidocs",
        "/api/docs/index.html",
        "/api/docs/scalar.standalone.js",
        "/api/docs/nosuch.js",
        "/api/docs/..",
        "/api/docs/%2e%2e",
        "/api/docs/..%2F..%2Fetc%2Fpasswd",
        "/api/docs%0A",
        "/api/openapi.json/",
        "/api/openapi",
        "/api/ui/swagger-ui-bundle.js",
    ],
)
def test_other_paths_are_not_found(app: ASGIApp, target: str) -> None:
    """Nothing else is served, and the common error body says so."""
    response = call(app, "GET", target)
    assert (response.status, response.json()["status"]) == (404, "error")


@all_cases("target", ["/", "/api/ui", _PAGE, f"{_PAGE}/page.js", "/api/openapi.json"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_method_not_allowed(app: ASGIApp, method: str, target: str) -> None:
    """Other methods get 405 with the common error body."""
    response = call(app, method, target, body=b"")
    assert (response.status, response.header("allow"), response.json()["status"]) == (405, "GET, HEAD", "error")
