"""The company console in a browser: a page object in the words that people see."""

import re
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from selenium.webdriver import Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.ui import Select

from tests.browser_page import BrowserPage

_TOKEN = "promo-console-token"


class Sent(NamedTuple):
    """A request of the console to the API; `body` is text, if there is any."""

    method: str
    path: str
    headers: dict[str, str]
    body: str | None


class Console(BrowserPage):
    """The console."""

    def open(self, path: str = "/", *, token: str | None = None) -> None:
        """Load the console at a screen, in the session of this token or in none, and wait for its heading."""
        self.browser.get(f"{self.url}/api/docs/icon.svg")
        self.script("sessionStorage.clear()")
        if token is not None:
            self.script("sessionStorage.setItem(arguments[0], arguments[1])", _TOKEN, token)
        self.browser.get(f"{self.url}/console/#{path}")
        self.heading()

    def go(self, path: str) -> None:
        """Go to another screen, and wait for its heading."""
        before = self.find("h1")
        self.script("location.hash = arguments[0]", path)
        self.until(lambda: staleness_of(before)(self.browser))
        self.heading()

    def heading(self) -> str:
        """Return the heading of the screen when it is there."""
        return self.until(lambda: self.find("main:not([aria-busy]) h1").text)

    def wait_heading(self, text: str) -> None:
        """Wait for a screen."""
        self.see(text, "main:not([aria-busy]) h1")

    def see(self, text: str, selector: str = "body") -> None:
        """Wait until a text is shown."""
        self.until(lambda: text in self.find(selector).text, f"{selector} does not show: {text}")

    def not_see(self, text: str, selector: str = "body") -> None:
        """Wait until a text is not shown."""
        self.until(lambda: text not in self.find(selector).text, f"{selector} shows: {text}")

    def click(self, name: str, scope: str = "body") -> None:
        """Click the button or link with this text; in the open dialog if there is one."""
        self.press(lambda: self._named(f"{self._scope(scope)} :is(a, button, label, summary)", name))

    def field(self, label: str, scope: str = "body") -> WebElement:
        """Return the control with a label; a required and an optional one have the same."""

        def find() -> WebElement:
            found = self._named(f"{self._scope(scope)} label", label)
            name = found.get_dom_attribute("for")
            return self.find(f"[id='{name}']") if name else found.find_element(By.CSS_SELECTOR, "input")

        return self.until(find)

    def enter(self, label: str, text: str, scope: str = "body") -> None:
        """Type a text into a field, instead of its text until now, and leave the field."""
        self.type(lambda: self.field(label, scope), text)
        self.browser.switch_to.active_element.send_keys(Keys.TAB)

    def set_date(self, label: str, value: str) -> None:
        """Set the value of a field for a date or a time, as a date picker does."""
        script = "const [field, value] = arguments; field.value = value; for (const kind of ['input', 'change']) {"
        script += " field.dispatchEvent(new Event(kind, { bubbles: true })); }"
        self.script(script, self.field(label), value)

    def choose(self, label: str, option: str) -> None:
        """Choose an option."""
        Select(self.field(label)).select_by_visible_text(option)

    def error_of(self, label: str) -> str:
        """Return the message at a field when there is one."""

        def message() -> str:
            ids = (self.field(label).get_dom_attribute("aria-describedby") or "").split()
            return self.find(f"[id='{ids[-1]}']").text

        return self.until(message)

    def choose_file(self, label: str, path: str) -> None:
        """Choose a file."""
        self.field(label).send_keys(path)

    def sent(self) -> list[Sent]:
        """Return the requests to the API since the last call of this method or of `hosts`."""
        return [_sent(request) for request in self.requests() if "/api/" in request["url"]]

    def unexpected_messages(self) -> list[str]:
        """Return the messages of the browser's console, but for responses that are errors."""
        return [each for each in self.console_messages() if "Failed to load resource" not in each]

    def use_network(self, *, online: bool) -> None:
        """Connect the browser to the network, or disconnect it."""
        rates = {"downloadThroughput": -1, "uploadThroughput": -1}
        self.command("Network.emulateNetworkConditions", offline=not online, latency=0, **rates)

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(self.script(script))

    def _scope(self, scope: str) -> str:
        return "dialog[open]" if scope == "body" and self.find_all("dialog[open]") else scope

    def _named(self, selector: str, name: str) -> WebElement:
        return self.find_match(selector, rf"^\s*{re.escape(name)}( \(optional\))?\s*$")


def _sent(request: dict[str, Any]) -> Sent:
    url = urlsplit(request["url"])
    path = url.path + (f"?{url.query}" if url.query else "")
    return Sent(request["method"], path.removeprefix("/api"), request["headers"], request.get("postData"))
