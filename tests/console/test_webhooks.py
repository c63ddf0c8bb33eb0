"""Webhooks in the console, with a receiver."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from tests.accounts import Account
from tests.console.browser import Console
from tests.e2e.server import Server
from tests.webhook_receiver import Receiver

_ROWS = ".list tbody tr"


@pytest.fixture
def delivering(empty_database: dict[str, str], tmp_path: Path) -> Iterator[Server]:
    """A server that delivers to this machine, with its own database: no other server takes its deliveries."""
    allowed = {"WEBHOOK_HTTP_ALLOWED": "true", "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8", "SERVER_WORKERS": "1"}
    with Server(empty_database | allowed, tmp_path) as server:
        yield server


def test_life_of_a_webhook(browser: Chrome, delivering: Server) -> None:
    """A webhook is created, tested, changed, disabled and deleted; its secret is shown once."""
    console = Console(browser, delivering.url)
    with Receiver() as receiver:
        console.open("/webhooks", token=delivering.accounts.sign_up_company().token)
        console.see("There are no webhooks.")
        console.click("Create webhook")
        console.enter("Address", receiver.url)
        console.click("Promo exhausted")
        console.click("Create webhook")
        console.see("Signing secret")
        assert str(console.find("dialog input").get_property("value")).startswith("whsec_")
        console.click("Close")
        console.see("Promo exhausted", "dl")
        console.click("Send test")
        console.see("Succeeded", _ROWS)
        console.see("Response 204", _ROWS)
        assert [each.event["type"] for each in receiver.requests] == ["webhook.test"]
        console.click("Send again", _ROWS)
        receiver.wait_for(2)
        _edit_and_delete(console)


def _edit_and_delete(console: Console) -> None:
    console.click("Edit")
    console.click("Promo exhausted")
    console.sent()
    console.click("Edit")
    console.see("All events", "dl")
    [changed] = [each.body for each in console.sent() if each.method == "PATCH"]
    assert changed == '{"event_types":null}'
    console.click("Disable")
    console.see("Disabled", ".badge")
    console.click("Delete")
    console.click("Delete")
    console.see("There are no webhooks.")


def test_rotate_and_send_since(console: Console, company: Account) -> None:
    """A new secret is shown, the previous one has an end, and a time is required to send events again."""
    webhook = company.post("/business/webhooks", json={"url": "https://shop.example/hook"}).json()["id"]
    console.open(f"/webhooks/{webhook}", token=company.token)
    console.click("Rotate secret")
    console.click("Rotate secret")
    console.see("Signing secret")
    console.click("Close")
    console.see("Previous secret until", "dl")
    console.click("Send again since …")
    console.click("Send again since …")
    assert console.error_of("Since") == "Is required."
    console.set_date("Since", "2026-01-01T12:00")
    console.click("Send again since …")
    console.see("Send again since …: done.")


def test_errors(console: Console, company: Account) -> None:
    """An address that the contract or the service does not allow is refused at the form."""
    console.open("/webhooks", token=company.token)
    console.click("Create webhook")
    console.enter("Address", "ftp://shop.example")
    assert console.error_of("Address") == "Must begin with https://."
    console.enter("Address", "http://shop.example/")
    console.click("Create webhook")
    assert "https" in console.error_of("Address")
