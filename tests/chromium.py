"""Chromium for the tests of pages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from selenium import webdriver

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
_SCRIPT_TIMEOUT_S = 120


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """Run a browser with an empty profile. Skip the test if it is not installed."""
    browser, driver = _program("chromium"), _program("chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for option in _OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with pytest.MonkeyPatch.context() as patch:
        # Selenium must neither download a driver nor send usage statistics.
        patch.setenv("SE_OFFLINE", "true")
        patch.setenv("SE_AVOID_STATS", "true")
        chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver))
        chrome.set_script_timeout(_SCRIPT_TIMEOUT_S)
        try:
            yield chrome
        finally:
            chrome.quit()


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"Chromium is not installed: the program `{name}` was not found.")
    return path
