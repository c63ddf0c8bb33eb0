"""What the page is made of, and what is served beside it: nothing."""

import re
from pathlib import Path

import pytest
from starlette.types import ASGIApp

from tests.contract.asgi import ask
from tests.contract.tiny import contract, operation, serve


@pytest.fixture
def tiny(tmp_path: Path) -> ASGIApp:
    """An application whose title has what HTML takes for its own."""
    document = contract({"/thing": {"get": operation()}})
    document["info"]["title"] = "Tea & <b>Biscuits</b>"
    return serve(tmp_path / "api.json", document)


def test_title_is_that_of_the_contract(tiny: ASGIApp) -> None:
    """The title of the page is what the contract calls itself, as text."""
    assert "<title>Tea &amp; &lt;b&gt;Biscuits&lt;/b&gt;</title>" in ask(tiny, "GET", "/api/ui/").content.decode()


def test_address_without_slash(tiny: ASGIApp) -> None:
    """It leads to the page at the same host, by a path alone."""
    answer = ask(tiny, "GET", "/api/ui")
    assert (answer.status, answer.header("location")) == (307, "/api/ui/")


def test_page_names_its_own_files_only(tiny: ASGIApp) -> None:
    """All that the page names stands beside it and is there, and none of it is of another host."""
    text = ask(tiny, "GET", "/api/ui/").content.decode()
    named = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert len(named) == 7
    for name in named:
        assert re.fullmatch(r"(\.\./)?[a-z0-9.-]+", name)
        target = f"/api/{name.removeprefix('../')}" if name.startswith("../") else f"/api/ui/{name}"
        assert ask(tiny, "GET", target).status == 200, name


@pytest.mark.parametrize("name", ["", "page.js", "page.css"])
def test_browser_is_told_to_stay(tiny: ASGIApp, name: str) -> None:
    """The browser is told to run no script but the files of the page, and to ask no other host."""
    policy = ask(tiny, "GET", f"/api/ui/{name}").header("content-security-policy") or ""
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
def test_nothing_beside_the_page(tiny: ASGIApp, target: str) -> None:
    """Neither is what Swagger UI has beside the page served, nor the page anywhere but under the contract's path."""
    assert ask(tiny, "GET", target).status == 404


@pytest.mark.parametrize("target", ["/api/ui", "/api/ui/", "/api/ui/page.js", "/api/ui/swagger-ui.css"])
def test_page_is_only_read(tiny: ASGIApp, target: str) -> None:
    """Any other method is 405 in the one shape of errors."""
    answer = ask(tiny, "POST", target, body=b"")
    assert (answer.status, answer.header("allow"), answer.json()["status"]) == (405, "GET", "error")
