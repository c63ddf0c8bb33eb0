"""Screens that refresh: only while their tab is visible, and only until they are left."""

from tests.accounts import Account
from tests.console.browser import Console
from tests.e2e.server import Server

# A later time makes each refresh due at the next tick of its timer, which has a period of a second.
_LATER = "const now = Date.now; Date.now = () => now() + 3_600_000;"
_TICKS = "window.ticks = 0; window.counter = setInterval(() => { window.ticks += 1; }, 1000);"
_VISIBILITY = """
const [state] = arguments;
Object.defineProperty(document, "hidden", { value: state === "hidden", configurable: true });
document.dispatchEvent(new Event("visibilitychange"));
"""


def _wait_for_timers(console: Console) -> None:
    """Wait until every timer of the page has had its turn."""
    console.script(_TICKS)
    console.until(lambda: console.script("return window.ticks") > 1)
    console.script("clearInterval(window.counter)")


def _polls(console: Console) -> int:
    return len([sent for sent in console.sent() if sent.method == "GET"])


def test_hidden_tab(console: Console, company: Account, server: Server) -> None:
    """A hidden tab sends nothing; when it is shown again, it refreshes at once."""
    promo = company.create_promo()
    console.open(f"/promos/{promo}", token=company.token)
    console.script(_VISIBILITY, "hidden")
    console.sent()
    console.script(_LATER)
    _wait_for_timers(console)
    assert _polls(console) == 0
    server.accounts.sign_up_user().post(f"/user/promo/{promo}/activate")
    console.script(_VISIBILITY, "visible")
    console.see("1", ".tile dd")
    assert _polls(console) > 0


def test_screen_that_was_left(console: Console, company: Account) -> None:
    """A screen that was left is not refreshed any more."""
    console.open(f"/promos/{company.create_promo()}", token=company.token)
    console.click("Promos")
    console.wait_heading("Promos")
    console.sent()
    console.script(_LATER)
    _wait_for_timers(console)
    assert _polls(console) == 0


def test_outage(console: Console, company: Account) -> None:
    """Without a connection the screen stays, says that it is old, and refreshes when the service responds."""
    promo = company.create_promo()
    console.open(f"/promos/{promo}", token=company.token)
    console.use_network(online=False)
    console.script(_LATER)
    console.see("Not updated at", ".live")
    console.see("Half of the price", "h1")
    console.use_network(online=True)
    console.script(_LATER)
    console.see("Updated at", ".live")
