"""The browser and the server of the tests of the documentation page."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from tests.e2e.conftest import e2e_environment, server
from tests.e2e.server import Server
from tests.npm import install
from tests.page.browser import Page

__all__ = ["e2e_environment", "server"]

_OPTIONS = (
    "--headless=new",
    "--window-size=1280,1600",
    # Chromium's sandbox does not work as root, and /dev/shm is too small in some containers.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    # Only requests of the page.
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
_AXE_TIMEOUT_S = 120


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"Chromium is not installed: the program `{name}` was not found.")
    return path


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Iterator[webdriver.Chrome]:
    """A browser with an empty profile."""
    chromium, chromedriver = _program("chromium"), _program("chromedriver")
    # Selenium must neither download a driver nor send usage statistics.
    monkeypatch.setenv("SE_OFFLINE", "true")
    monkeypatch.setenv("SE_AVOID_STATS", "true")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in _OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=chromedriver))
    driver.set_script_timeout(_AXE_TIMEOUT_S)
    try:
        yield driver
    finally:
        driver.quit()


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
