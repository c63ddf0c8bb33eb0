"""Accounts in the console: sign-up, sign-in, sessions that end, and forgotten passwords."""

import json

from tests.accounts import PASSWORD, Account, new_email
from tests.console.browser import Console
from tests.e2e.server import Server
from tests.mailbox import Mailbox

_NEW_PASSWORD = "An0ther&Word"
_ENDED = "Your session has ended"


def _enter(console: Console, email: str, password: str) -> None:
    console.enter("E-mail", email)
    console.enter("Password", password)


def test_sign_up_and_out(console: Console, server: Server) -> None:
    """A sign-up leads to the overview, the token is gone after the sign-out, and the browser keeps nothing else."""
    email = new_email()
    server.remote.secrets |= {email, PASSWORD}
    console.open()
    console.wait_heading("Sign in")
    console.click("Create an account")
    console.enter("Name", "Northern Coffee")
    _enter(console, email, PASSWORD)
    console.click("Create account")
    console.wait_heading("Overview")
    assert console.stored().count("promo-console-token") == 1
    console.click("Sign out")
    console.wait_heading("Sign in")
    assert json.loads(console.stored()) == [{}, {}, ""]


def test_first_visit(console: Console) -> None:
    """The first visit shows the sign-in, and says nothing of a session that has ended."""
    console.open("/sign-up")
    console.browser.get(f"{console.url}/console/")
    console.wait_heading("Sign in")
    assert _ENDED not in console.find("main").text


def test_errors_at_their_fields(console: Console, server: Server) -> None:
    """Before a request, the form shows what the contract does not allow; the first wrong field gets the focus."""
    console.open("/sign-up")
    console.enter("Name", "N")
    console.enter("E-mail", "ann")
    console.enter("Password", "short")
    console.sent()
    console.click("Create account")
    assert console.error_of("Name") == "Must have at least 2 characters."
    assert console.error_of("E-mail") == "Must have at least 6 characters."
    assert console.error_of("Password") == "Must have at least 8 characters."
    assert console.browser.switch_to.active_element == console.field("Name")
    console.enter("E-mail", "ann.example.com")
    assert console.error_of("E-mail") == "Must have one @ between two parts, as in ann@example.com."
    assert console.sent() == []
    server.remote.secrets.discard("short")


def test_errors_of_the_service(console: Console, company: Account) -> None:
    """An error that only the service knows is shown above the button: a taken address, and wrong credentials."""
    console.open("/sign-up")
    console.enter("Name", "Another company")
    _enter(console, company.email, PASSWORD)
    console.click("Create account")
    console.see("An account with this e-mail address already exists", "[role=alert]")
    console.go("/sign-in")
    _enter(console, company.email, "wrong")
    console.click("Sign in")
    console.see("The e-mail address or the password is wrong", "[role=alert]")


def test_session_that_ends(console: Console, company: Account) -> None:
    """After the token was revoked, the next request leads to the sign-in, and that leads back to the screen."""
    console.open("/keys", token=company.token)
    company.post("/business/auth/sign-out")
    console.go("/account")
    console.wait_heading("Sign in")
    console.see(_ENDED)
    _enter(console, company.email, PASSWORD)
    console.click("Sign in")
    console.wait_heading("Account")


def test_forgotten_password(console: Console, company: Account, server: Server, mailbox: Mailbox) -> None:
    """The mail's token sets a new password, with which the company signs in."""
    server.remote.secrets.add(_NEW_PASSWORD)
    console.open("/sign-in")
    console.click("Forgot your password?")
    console.enter("E-mail", company.email)
    console.click("Send the link")
    console.see("a mail is on its way")
    console.open(f"/reset-password?token={mailbox.token(company.email)}")
    console.enter("Password", _NEW_PASSWORD)
    console.click("Set password")
    console.see("Your password is set")
    console.click("Sign in")
    console.wait_heading("Sign in")
    _enter(console, company.email, _NEW_PASSWORD)
    console.click("Sign in")
    console.wait_heading("Overview")


def test_hostile_return_address(console: Console, company: Account) -> None:
    """The address to return to after the sign-in is a screen of the console, even if a link names another site."""
    console.open("/sign-in?next=https%3A%2F%2Fevil.example%2F")
    _enter(console, company.email, PASSWORD)
    console.click("Sign in")
    console.see("There is no such screen")
    assert console.browser.current_url.startswith(f"{console.url}/console/")
