"""A browser for the tests of the page, and the server that it opens the page of."""

import shutil
from collections.abc import Iterator

import pytest
from selenium import webdriver

from tests.e2e.conftest import e2e_environment, server
from tests.e2e.server import Server
from tests.page.browser import Page

__all__ = ["e2e_environment", "server"]

_OPTIONS = (
    "--headless=new",
    "--window-size=1280,1600",
    # Chromium's own sandbox does not work for root, nor its shared memory in a small container.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    # The browser asks for nothing but what the page asks for.
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"Chromium is not installed: there is no program `{name}` to open the page with")
    return path


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Iterator[webdriver.Chrome]:
    """A browser that knows nothing yet, and is gone at the end."""
    chromium, chromedriver = _program("chromium"), _program("chromedriver")
    # Selenium neither looks for a driver elsewhere nor tells anybody that it ran.
    monkeypatch.setenv("SE_OFFLINE", "true")
    monkeypatch.setenv("SE_AVOID_STATS", "true")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in _OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=chromedriver))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def page(browser: webdriver.Chrome, server: Server) -> Page:
    """The page of the server, not opened yet."""
    return Page(browser, server.url)
