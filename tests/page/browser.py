"""The documentation page, as a person sees and uses it."""

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
_PATIENCE_S = 30
_LOOK_EVERY_S = 0.05
# What the page may be in the middle of.
_NOT_YET = [
    NoSuchElementException,
    StaleElementReferenceException,
    ElementClickInterceptedException,
    ElementNotInteractableException,
]


class Shown(NamedTuple):
    """An answer, as the page shows it."""

    status: int
    body: Any


class Page:
    """The page in a browser.

    Attributes:
        browser: the browser that it is in.
        url: where the server is, as the browser sees it.
    """

    def __init__(self, browser: Chrome, url: str) -> None:
        self.browser = browser
        self.url = url

    def open(self, path: str = "/api/ui") -> None:
        """Open it, and wait until it lists its operations."""
        self.browser.get(f"{self.url}{path}")
        self._until(lambda: self.browser.find_element(By.CSS_SELECTOR, ".opblock").is_displayed())

    def reload(self) -> None:
        """Load it anew."""
        old = self.browser.find_element(By.ID, "swagger-ui")
        self.browser.refresh()
        self._until(lambda: self.browser.find_element(By.ID, "swagger-ui") != old)
        self._until(lambda: self.browser.find_element(By.CSS_SELECTOR, ".opblock").is_displayed())

    def operations(self) -> list[list[str]]:
        """Return method, path, summary and operationId of each operation, in the order in which they are shown."""
        names = ("method", "path", "description", "operation-id")
        return [
            [_text(row.find_element(By.CSS_SELECTOR, f".opblock-summary-{name}")) for name in names]
            for row in self.browser.find_elements(By.CSS_SELECTOR, ".opblock-summary")
        ]

    def open_operations(self) -> list[str]:
        """Return the operationIds of those that are open."""
        found = self.browser.find_elements(By.CSS_SELECTOR, ".opblock.is-open .opblock-summary-operation-id")
        return [_text(name) for name in found]

    def execute(self, operation_id: str, body: Any = None) -> Shown:
        """Try an operation out, with this body typed in, and return the answer that is shown."""
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
        answer = ".live-responses-table .response"
        status = self._until(lambda: block.find_element(By.CSS_SELECTOR, f"{answer} .response-col_status").text)
        shown = self._until(lambda: block.find_element(By.CSS_SELECTOR, f"{answer} pre.microlight").text)
        return Shown(int(status.split()[0]), json.loads(shown))

    def filled_in(self, operation_id: str) -> dict[str, str]:
        """Return what stands in the form of an operation that has been tried out, by parameter."""
        rows = self._operation(operation_id).find_elements(By.CSS_SELECTOR, "tr[data-param-name]")
        return {
            str(row.get_attribute("data-param-name")): str(field.get_attribute("value"))
            for row in rows
            for field in row.find_elements(By.CSS_SELECTOR, "input, select")
        }

    def authorize(self, scheme: str, token: str) -> None:
        """Enter a token in the dialog."""
        dialog = self._open_dialog(scheme)
        self._type(dialog, "input", token)
        self._press(dialog, "button.authorize")
        self._until(lambda: dialog.find_element(By.XPATH, ".//button[text()='Logout']"))
        self._close_dialog()

    def log_out(self, scheme: str) -> None:
        """Have the dialog forget a token."""
        dialog = self._open_dialog(scheme)
        self._until(lambda: _clicked(dialog.find_element(By.XPATH, ".//button[text()='Logout']")))
        self._until(lambda: dialog.find_element(By.CSS_SELECTOR, "button.authorize"))
        self._close_dialog()

    def hosts(self) -> set[str]:
        """Return whom the browser asked for something, since this was asked last; what stands in the page itself
        does not count.
        """
        messages = [json.loads(entry)["message"] for entry in self._log("performance")]
        asked = [
            urlsplit(message["params"]["request"]["url"])
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]
        return {f"{url.scheme}://{url.netloc}" for url in asked if url.scheme != "data"}

    def complaints(self) -> list[str]:
        """Return what the browser had to say about the page, since this was asked last."""
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

    def _type(self, place: WebElement, selector: str, text: str) -> None:
        field = self._until(lambda: place.find_element(By.CSS_SELECTOR, selector))
        field.send_keys(Keys.CONTROL, "a")
        # All at once, as an input method does: key by key takes the browser seconds.
        self.browser.execute_cdp_cmd("Input.insertText", {"text": text})
        self._until(lambda: field.get_attribute("value") == text)

    def _press(self, place: WebElement, selector: str) -> None:
        scrolled = -1

        def press() -> bool:
            # The page scrolls to the operation of its address, and nobody hits what moves.
            nonlocal scrolled
            before, scrolled = scrolled, self.browser.execute_script("return window.scrollY")
            return before == scrolled and _clicked(place.find_element(By.CSS_SELECTOR, selector))

        self._until(press)

    def _until(self, condition: Callable[[], _T]) -> _T:
        return WebDriverWait(self.browser, _PATIENCE_S, _LOOK_EVERY_S, _NOT_YET).until(lambda _: condition())


def _text(element: WebElement) -> str:
    # Within a path there are invisible places to break it.
    return element.text.replace("\u200b", "").strip()


def _clicked(element: WebElement) -> bool:
    element.click()
    return True
