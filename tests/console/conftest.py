"""The browser and the server of the tests of the console."""

from collections.abc import Iterator

import pytest
from selenium import webdriver

from tests.accounts import Account
from tests.chromium import chromium
from tests.console.browser import Console
from tests.e2e.conftest import e2e_environment, empty_database, server
from tests.e2e.server import Server
from tests.page.conftest import axe

__all__ = ["axe", "e2e_environment", "empty_database", "server"]


@pytest.fixture(scope="package")
def browser() -> Iterator[webdriver.Chrome]:
    """A browser that all tests share; each begins without a session."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def console(browser: webdriver.Chrome, server: Server) -> Iterator[Console]:
    """The console, not yet open. A test fails if the browser has logged a warning or an error, other than a status."""
    console = Console(browser, server.url)
    console.console_messages()
    console.hosts()
    yield console
    console.use_network(online=True)
    console.command("Emulation.clearDeviceMetricsOverride")
    console.use_colors("light")
    assert console.unexpected_messages() == []


@pytest.fixture
def company(server: Server) -> Account:
    """A new company."""
    return server.accounts.sign_up_company()
