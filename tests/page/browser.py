"""The documentation page in a browser: page objects for Swagger UI."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
)
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

_T = TypeVar("_T")
_TIMEOUT_S = 30
_POLL_S = 0.05
# Raised while the page is changing; `_until` tries again.
_TRANSIENT = [
    NoSuchElementException,
    StaleElementReferenceException,
    ElementClickInterceptedException,
    ElementNotInteractableException,
]


class DisplayedResponse(NamedTuple):
    """A response as the page displays it."""

    status: int
    body: Any


class Page:
    """The page in a browser.

    Attributes:
        browser: the browser.
        url: of the server.
    """

    def __init__(self, browser: Chrome, url: str) -> None:
        self.browser = browser
        self.url = url

    def open(self, path: str = "/api/ui") -> None:
        """Open the page, and wait until it lists the operations."""
        self.browser.get(f"{self.url}{path}")
        self._until(lambda: self.browser.find_element(By.CSS_SELECTOR, ".opblock").is_displayed())

    def reload(self) -> None:
        """Reload the page."""
        old = self.browser.find_element(By.ID, "swagger-ui")
        self.browser.refresh()
        self._until(lambda: self.browser.find_element(By.ID, "swagger-ui") != old)
        self._until(lambda: self.browser.find_element(By.CSS_SELECTOR, ".opblock").is_displayed())

    def operations(self) -> list[list[str]]:
        """Return method, path, summary and operationId of each operation, in the displayed order."""
        names = ("method", "path", "description", "operation-id")
        return [
            [_text(row.find_element(By.CSS_SELECTOR, f".opblock-summary-{name}")) for name in names]
            for row in self.browser.find_elements(By.CSS_SELECTOR, ".opblock-summary")
        ]

    def open_operations(self) -> list[str]:
        """Return the operationIds of the open operations."""
        names = self.browser.find_elements(By.CSS_SELECTOR, ".opblock.is-open .opblock-summary-operation-id")
        return [_text(name) for name in names]

    def execute(self, operation_id: str, body: Any = None) -> DisplayedResponse:
        """Try an operation out, with a body if it has one, and return the response."""
        block = self._operation(operation_id)
        if operation_id not in self.open_operations():
            self._press(block, ".opblock-summary-control")
        self._until(lambda: block.find_element(By.CSS_SELECTOR, ".try-out__btn"))
        if not block.find_elements(By.CSS_SELECTOR, ".try-out__btn.cancel"):
            self._press(block, ".try-out__btn")
        if block.find_elements(By.CSS_SELECTOR, ".btn-clear"):
            self._press(block, ".btn-clear")
            self._until(lambda: not block.find_elements(By.CSS_SELECTOR, ".live-responses-table"))
        if body is not None:
            self._type(block, "textarea.body-param__text", json.dumps(body))
        self._press(block, ".execute")
        response = ".live-responses-table .response"
        status = self._until(lambda: block.find_element(By.CSS_SELECTOR, f"{response} .response-col_status").text)
        body_text = self._until(lambda: block.find_element(By.CSS_SELECTOR, f"{response} pre.microlight").text)
        return DisplayedResponse(int(status.split()[0]), json.loads(body_text))

    def filled_in(self, operation_id: str) -> dict[str, str]:
        """Return the values in the form of an operation, by parameter. The operation must have been executed."""
        rows = self._operation(operation_id).find_elements(By.CSS_SELECTOR, "tr[data-param-name]")
        return {
            str(row.get_attribute("data-param-name")): str(field.get_attribute("value"))
            for row in rows
            for field in row.find_elements(By.CSS_SELECTOR, "input, select")
        }

    def authorize(self, scheme: str, token: str) -> None:
        """Enter a token in the authorization dialog."""
        dialog = self._open_dialog(scheme)
        self._type(dialog, "input", token)
        self._press(dialog, "button.authorize")
        self._until(lambda: dialog.find_element(By.XPATH, ".//button[text()='Logout']"))
        self._close_dialog()

    def log_out(self, scheme: str) -> None:
        """Remove a token in the authorization dialog."""
        dialog = self._open_dialog(scheme)
        self._until(lambda: _clicked(dialog.find_element(By.XPATH, ".//button[text()='Logout']")))
        self._until(lambda: dialog.find_element(By.CSS_SELECTOR, "button.authorize"))
        self._close_dialog()

    def hosts(self) -> set[str]:
        """Return the origins of all requests since the last call, without data URLs."""
        messages = [json.loads(entry)["message"] for entry in self._log("performance")]
        urls = [
            urlsplit(message["params"]["request"]["url"])
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]
        return {f"{url.scheme}://{url.netloc}" for url in urls if url.scheme != "data"}

    def console_messages(self) -> list[str]:
        """Return the messages of the browser console since the last call."""
        return self._log("browser")

    def _log(self, name: str) -> list[str]:
        entries: list[dict[str, str]] = self.browser.get_log(name)  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in entries]

    def _operation(self, operation_id: str) -> WebElement:
        name = f"//span[contains(@class, 'opblock-summary-operation-id')][normalize-space()='{operation_id}']"
        return self.browser.find_element(By.XPATH, f"{name}/ancestor::div[contains(@class, 'opblock ')]")

    def _open_dialog(self, scheme: str) -> WebElement:
        self._press(self.browser.find_element(By.ID, "swagger-ui"), ".auth-wrapper > .authorize")
        return self._until(
            lambda: self.browser.find_element(By.XPATH, f"//*[@class='auth-container'][.//code[text()='{scheme}']]")
        )

    def _close_dialog(self) -> None:
        self._press(self.browser.find_element(By.CSS_SELECTOR, ".dialog-ux"), ".close-modal")
        self._until(lambda: not self.browser.find_elements(By.CSS_SELECTOR, ".dialog-ux"))

    def _type(self, parent: WebElement, selector: str, text: str) -> None:
        field = self._until(lambda: parent.find_element(By.CSS_SELECTOR, selector))
        field.send_keys(Keys.CONTROL, "a")
        # As one event, like an input method: single keys take the browser seconds.
        self.browser.execute_cdp_cmd("Input.insertText", {"text": text})
        self._until(lambda: field.get_attribute("value") == text)

    def _press(self, parent: WebElement, selector: str) -> None:
        scrolled = -1

        def press() -> bool:
            # The page scrolls to the operation in its URL, and a click on a moving element misses it.
            nonlocal scrolled
            before, scrolled = scrolled, self.browser.execute_script("return window.scrollY")
            return before == scrolled and _clicked(parent.find_element(By.CSS_SELECTOR, selector))

        self._until(press)

    def _until(self, condition: Callable[[], _T]) -> _T:
        return WebDriverWait(self.browser, _TIMEOUT_S, _POLL_S, _TRANSIENT).until(lambda _: condition())


def _text(element: WebElement) -> str:
    # Swagger UI inserts zero-width spaces into paths.
    return element.text.replace("\u200b", "").strip()


def _clicked(element: WebElement) -> bool:
    element.click()
    return True
