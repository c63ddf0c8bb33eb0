"""The account and the API keys in the console."""

from tests.accounts import PASSWORD, Account
from tests.console.browser import Console
from tests.e2e.server import Server

_NEW_PASSWORD = "Rainy&3Days"


def test_name(console: Console, company: Account) -> None:
    """The name is changed, unless someone else has changed it meanwhile."""
    console.open("/account", token=company.token)
    console.see(company.email)
    console.enter("Name", "Southern Coffee")
    console.click("Save")
    console.see("Your profile is saved.")
    assert company.get("/business/profile").json()["name"] == "Southern Coffee"
    company.patch("/business/profile", json={"name": "Eastern Coffee"})
    console.enter("Name", "Western Coffee")
    console.click("Save")
    console.see("changed", ".form-error")
    assert company.get("/business/profile").json()["name"] == "Eastern Coffee"


def test_password(console: Console, company: Account, server: Server) -> None:
    """A wrong current password is refused at its field; after the change the session goes on."""
    server.remote.secrets |= {_NEW_PASSWORD}
    console.open("/account", token=company.token)
    console.enter("Current password", _NEW_PASSWORD)
    console.enter("Password", _NEW_PASSWORD)
    console.press(lambda: console.find_all("form button")[1])
    assert console.error_of("Current password") == "The password is wrong."
    console.enter("Current password", PASSWORD)
    console.press(lambda: console.find_all("form button")[1])
    console.see("Your password is changed.")
    console.click("API keys")
    console.wait_heading("API keys")
    body = {"email": company.email, "password": _NEW_PASSWORD}
    assert server.remote.request("POST", "/api/business/auth/sign-in", json=body).status_code == 200


def test_keys(console: Console, company: Account) -> None:
    """A key needs a scope, is shown once, and is revoked after a question."""
    console.open("/keys", token=company.token)
    console.see("There are no API keys.")
    console.click("Create key")
    console.enter("Name", "Till")
    console.click("Create key")
    console.see("Is required.", "dialog")
    console.click("Redeem codes")
    console.click("Create key")
    console.see("it is not shown again")
    key = console.find("dialog input").get_property("value") or ""
    console.click("Close")
    console.see("Till")
    assert str(key).startswith(console.find(".list .hint").text.removesuffix("…"))
    console.click("Revoke")
    console.see("Revoke Till?")
    console.click("Revoke")
    console.see("There are no API keys.")
