"""The documentation page in a browser: a page object for Scalar."""

import json
from typing import Any, NamedTuple

from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.browser_page import BrowserPage
from tests.operations import Operation

_SIDEBAR = ".t-doc__sidebar"
_CLIENT = "[aria-label='API Client']"
_REQUEST = f"{_CLIENT} section[aria-label^='Request:']"
# Records requests with their responses, notices, and violations of the Content-Security-Policy.
_RECORDER = """
window.exchanges = [];
window.violations = [];
window.notices = [];
document.addEventListener("DOMContentLoaded", () => {
  const notice = document.querySelector("#notice");
  if (notice) {
    new MutationObserver(() => window.notices.push(notice.textContent)).observe(notice, { childList: true });
  }
});
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
const send = window.fetch;
window.fetch = async (input, init) => {
  const authorization = input.headers?.get("Authorization") ?? null;
  const response = await send(input, init);
  const body = await response.clone().text();
  window.exchanges.push({ url: response.url, authorization, status: response.status, body });
  return response;
};
"""


class Exchange(NamedTuple):
    """A request of the page and its response.

    Attributes:
        authorization: the header of the request.
        status: as displayed.
        body: of the response.
    """

    authorization: str | None
    status: int
    body: Any


class Page(BrowserPage):
    """The documentation page in a browser."""

    # Scalar has lesser findings.
    impacts = ("serious", "critical")

    def __init__(self, browser: Chrome, url: str) -> None:
        super().__init__(browser, url)
        self.command("Page.addScriptToEvaluateOnNewDocument", source=_RECORDER)

    def open(self, path: str = "/api/docs") -> None:
        """Load the page, and wait until it shows the specification."""
        self.browser.get("about:blank")
        self.browser.get(f"{self.url}{path}")
        self.until(lambda: self.find("h1, h2").is_displayed())

    def use_scripts(self, *, allowed: bool) -> None:
        """Turn JavaScript on or off."""
        self.command("Emulation.setScriptExecutionDisabled", value=not allowed)

    def sidebar(self) -> list[tuple[str, str, str]]:
        """Return method, path and title of each operation in the sidebar, and open all its groups."""
        while closed := self.browser.find_elements(By.CSS_SELECTOR, f"{_SIDEBAR} button[aria-expanded='false']"):
            for button in closed:
                self.script("arguments[0].click()", button)
        links = self.browser.find_elements(By.CSS_SELECTOR, f"{_SIDEBAR} a[href^='#tag/']")
        shown = [(link.get_dom_attribute("href").split("/", 3), link.text.splitlines()[0]) for link in links]
        return [(method, f"/{path}", title) for (_, _, method, path), title in _operations_only(shown)]

    def show(self, operation: Operation) -> WebElement:
        """Open an operation from the sidebar, and return its section."""
        if not self.browser.find_elements(By.CSS_SELECTOR, f"{_SIDEBAR} a[href$='/{_name(operation)}']"):
            self.sidebar()
        self.script("arguments[0].click()", self.find(f"{_SIDEBAR} a[href$='/{_name(operation)}']"))
        section = f"section[id$='/{_name(operation)}']"
        self.until(lambda: self.find(f"{section} .show-api-client-button").is_displayed())
        return self.find(section)

    def try_out(self, operation: Operation) -> None:
        """Open the client of an operation."""
        section = self.show(operation)
        self.press(lambda: section.find_element(By.CSS_SELECTOR, ".show-api-client-button"))
        summary = operation.declared["summary"]
        self.until(lambda: self.find(f'{_CLIENT} section[aria-label="Request: {summary}"]').is_displayed())

    def send(self) -> Exchange:
        """Send the request of the client."""
        before = len(self._exchanges())
        self.press(lambda: self.find_text(f"{_CLIENT} button", "Send"))
        exchange = self.until(lambda: self._exchanges()[before:])[0]
        status = str(exchange["status"])
        shown = self.until(lambda: self.find_text(f"{_CLIENT} a[href*='/HTTP/Status/']", status).text)
        return Exchange(exchange["authorization"], int(shown.split()[0]), json.loads(exchange["body"]))

    def close_client(self) -> None:
        """Close the client."""
        self.browser.switch_to.active_element.send_keys(Keys.ESCAPE)
        self.until(lambda: not any(each.is_displayed() for each in self.find_all(_CLIENT)))

    def execute(self, operation: Operation, body: Any = None, **parameters: str) -> Exchange:
        """Open the client of an operation, send a request, and close the client."""
        self.try_out(operation)
        for name, value in parameters.items():
            self.type(lambda name=name: self.find(f"{_CLIENT} tr[id='{name}'] [aria-label=' Value']"), value)
        if body is not None:
            self.type(lambda: self.find(f"{_REQUEST} .cm-content"), json.dumps(body))
        exchange = self.send()
        self.close_client()
        return exchange

    def notices(self) -> str:
        """Return all notices since the page was loaded; each is shown for some seconds."""
        return "\n".join(self.script("return window.notices"))

    def filled_in(self) -> dict[str, str]:
        """Return the parameters and headers that the client will send."""
        rows = [
            row for row in self.find_all(f"{_REQUEST} tr[id]") if row.find_elements(By.CSS_SELECTOR, "input:checked")
        ]
        return {str(row.get_attribute("id")): row.find_elements(By.CSS_SELECTOR, "td")[-1].text for row in rows}

    def type_token(self, token: str) -> None:
        """Type a token into the client."""
        if not any(field.is_displayed() for field in self.find_all(f"{_CLIENT} input[placeholder='Token']")):
            self.press(lambda: self.find_text(f"{_REQUEST} button", "Authentication"))
        self.type(lambda: self.find(f"{_CLIENT} input[placeholder='Token']"), token)

    def search(self, text: str) -> None:
        """Open the search with the keyboard, and type a text."""
        self.browser.switch_to.active_element.send_keys(Keys.CONTROL, "k")
        self.until(lambda: self.find("input[role='combobox']").is_displayed())
        self.browser.switch_to.active_element.send_keys(text)

    def first_result(self) -> str:
        """Return the text of the first result of the search."""
        return self.find("[role='option']").text

    def _exchanges(self) -> list[dict[str, Any]]:
        exchanges: list[dict[str, Any]] = self.script("return window.exchanges")
        return exchanges


def _name(operation: Operation) -> str:
    return f"{operation.method}{operation.path}"


def _operations_only(links: list[tuple[list[str], str]]) -> list[tuple[list[str], str]]:
    """Leave out the links to tags."""
    return [link for link in links if len(link[0]) == len(("#tag", "tag", "method", "path"))]
