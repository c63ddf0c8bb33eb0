"""The browser and the server of the tests of the documentation page."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from tests.chromium import chromium
from tests.e2e.conftest import e2e_environment, server
from tests.e2e.server import Server
from tests.npm import install
from tests.page.browser import Page

__all__ = ["e2e_environment", "server"]


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    """A browser with an empty profile."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: webdriver.Chrome, server: Server) -> Page:
    """The page of the server; not yet open."""
    return Page(browser, server.url)


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe, which finds accessibility problems."""
    folder = tmp_path_factory.mktemp("axe")
    install(Path(__file__).with_name("axe"), folder)
    return (folder / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")
