"""What tests of pages in a browser share."""

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
)
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

_T = TypeVar("_T")
_TIMEOUT_S = 30
_POLL_S = 0.05
_PHONE_MAX = 600
# Raised while the page is changing; `until` tries again.
_TRANSIENT = [
    NoSuchElementException,
    StaleElementReferenceException,
    ElementClickInterceptedException,
    ElementNotInteractableException,
]
# In one call: one for each element takes seconds on a page with many.
_FIND_MATCH = """
const [selector, pattern] = arguments;
const text = new RegExp(pattern);
return [...document.querySelectorAll(selector)].find((element) =>
  element.checkVisibility({ visibilityProperty: true }) && text.test(element.innerText)) ?? null;
"""
_AXE = """
const [rules, impacts, done] = arguments;
const options = { resultTypes: ["violations"], ...(rules.length ? { runOnly: rules } : {}) };
axe.run(document, options).then((results) => done(results.violations
  .filter(({ impact }) => impacts.includes(impact))
  .flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`))));
"""


class BrowserPage:
    """A page in a browser.

    Attributes:
        browser: the browser.
        url: of the server.
        impacts: the impacts of findings of axe that are problems.
    """

    impacts = ("minor", "moderate", "serious", "critical")

    def __init__(self, browser: Chrome, url: str) -> None:
        self.browser = browser
        self.url = url

    def use_colors(self, scheme: str) -> None:
        """Set the colour scheme of the system, `light` or `dark`."""
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def use_size(self, width: int, height: int = 740) -> None:
        """Set the size of the window in pixels. A narrow one is that of a phone."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < _PHONE_MAX}
        self.command("Emulation.setDeviceMetricsOverride", **metrics)

    def hosts(self) -> set[str]:
        """Return the origins of all requests since the last call."""
        urls = [urlsplit(request["url"]) for request in self.requests()]
        return {f"{url.scheme}://{url.netloc}" for url in urls}

    def requests(self) -> list[dict[str, Any]]:
        """Return all requests since the last call, as the DevTools protocol describes them."""
        messages = [json.loads(entry)["message"] for entry in self._log("performance")]
        return [each["params"]["request"] for each in messages if each["method"] == "Network.requestWillBeSent"]

    def console_messages(self) -> list[str]:
        """Return the warnings and errors of the browser console since the last call."""
        return self._log("browser", ("WARNING", "SEVERE"))

    def findings(self, axe: str, *rules: str) -> list[str]:
        """Return the findings of axe with these impacts, by all its rules or these."""
        self.browser.execute_script(axe)
        found: list[str] = self.browser.execute_async_script(_AXE, rules, self.impacts)
        return found

    def stored(self) -> str:
        """Return what the page has stored in the browser."""
        return str(self.script("return JSON.stringify([localStorage, sessionStorage, document.cookie])"))

    def script(self, source: str, *arguments: Any) -> Any:
        """Run a script in the page."""
        return self.browser.execute_script(source, *arguments)

    def find(self, selector: str) -> WebElement:
        """Return the first element."""
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def find_text(self, selector: str, text: str) -> WebElement:
        """Return the first element that shows a text."""
        return self.find_match(selector, re.escape(text))

    def find_match(self, selector: str, pattern: str) -> WebElement:
        """Return the first element whose shown text has a match of a regular expression."""
        found: WebElement | None = self.script(_FIND_MATCH, selector, pattern)
        if found is None:
            raise NoSuchElementException(f"{selector} with {pattern}")
        return found

    def type(self, find: Callable[[], WebElement], text: str) -> None:
        """Replace the text of a field."""
        self.press(find)
        self.browser.switch_to.active_element.send_keys(Keys.CONTROL, "a")
        # As one event, like an input method: single keys take the browser seconds, and editors complete brackets.
        self.command("Input.insertText", text=text)

    def press(self, find: Callable[[], WebElement]) -> None:
        """Click an element when it does not move any more."""
        before = None

        def press() -> bool:
            nonlocal before
            element = find()
            place = self.script(
                "arguments[0].scrollIntoViewIfNeeded(); return arguments[0].getBoundingClientRect()", element
            )
            if place != before:
                before = place
                return False
            element.click()
            return True

        self.until(press)

    def until(self, condition: Callable[[], _T], message: str = "") -> _T:
        """Wait until a condition is true, and return its value. `message` says what was not seen in time."""
        return WebDriverWait(self.browser, _TIMEOUT_S, _POLL_S, _TRANSIENT).until(lambda _: condition(), message)

    def find_all(self, selector: str) -> list[WebElement]:
        """Return all elements."""
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def command(self, name: str, **parameters: Any) -> None:
        """Run a command of the DevTools protocol."""
        self.browser.execute_cdp_cmd(name, parameters)

    def _log(self, name: str, levels: tuple[str, ...] = ()) -> list[str]:
        entries: list[dict[str, str]] = self.browser.get_log(name)  # type: ignore[no-untyped-call]  # of Selenium
        return [entry["message"] for entry in entries if not levels or entry["level"] in levels]
