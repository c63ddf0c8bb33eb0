"""Promos in the console: the list, and the forms to create and to edit one."""

import json

import pytest

from tests.accounts import Account
from tests.console.browser import Console, Sent
from tests.e2e.server import Server

_SUMMARY = ".summary"
_LIST = ".list"


def _changes(console: Console) -> list[Sent]:
    return [sent for sent in console.sent() if sent.method != "GET"]


def _body(sent: Sent) -> dict[str, object]:
    body: dict[str, object] = json.loads(sent.body or "")
    return body


def test_create_common(console: Console, company: Account) -> None:
    """The first promo: its summary follows the entries, and its page opens with a notice."""
    console.open("/promos", token=company.token)
    console.see("No promos yet")
    console.click("Create promo", _LIST)
    console.wait_heading("New promo")
    console.see("Starts at once and has no end, for everybody.", _SUMMARY)
    console.enter("Offer", "Twenty percent off any coffee.")
    console.enter("Code", "COFFEE-20")
    console.enter("Limit of activations", "500")
    console.enter("Activations per person", "1")
    console.enter("From age", "18")
    console.choose("Country", "France")
    console.set_date("Last day", "2099-11-30")
    console.see("Ends on 30 November 2099, 23:59 UTC+3, for people from 18 in France.", _SUMMARY)
    console.see("One code for everybody, at most 500 activations, once per person.", _SUMMARY)
    console.click("Create promo")
    console.see("The promo is created.")
    console.wait_heading("Twenty percent off any coffee.")
    [promo] = company.get("/business/promo").json()
    assert promo["target"] == {"age_from": 18, "country": "fr"}
    assert (promo["max_count"], promo["max_per_user"], promo["active_until"]) == (500, 1, "2099-11-30")


def test_create_unique(console: Console, company: Account) -> None:
    """Values that both modes have stay when the mode is switched; an error names the line of a code."""
    console.open("/promos/new", token=company.token)
    console.enter("Offer", "A free cup of coffee.")
    console.click("Many codes, each used once")
    console.enter("First codes, one on each line", "CUP-1\n\nC2\nCUP-3")
    console.see("3 codes, each used once", _SUMMARY)
    console.click("Create promo")
    assert console.error_of("First codes, one on each line") == "Line 2: must have at least 3 characters."
    console.enter("First codes, one on each line", "CUP-1\nCUP-2\nCUP-3")
    console.click("Create promo")
    console.wait_heading("A free cup of coffee.")
    [promo] = company.get("/business/promo").json()
    assert promo["promo_unique"] == ["CUP-1", "CUP-2", "CUP-3"]


def test_errors_of_the_service(console: Console, company: Account) -> None:
    """An error that only the service finds is at its control, in words of the form, and the entries stay."""
    console.open("/promos/new", token=company.token)
    console.enter("Offer", "Ten percent off.")
    console.enter("Code", "TEN-OFF")
    console.enter("Limit of activations", "10")
    console.enter("From age", "30")
    console.enter("To age", "20")
    console.set_date("First day", "2099-02-01")
    console.set_date("Last day", "2099-01-01")
    console.click("Create promo")
    assert console.error_of("To age") == "Must not be less than “From age”."
    assert console.browser.switch_to.active_element == console.field("To age")
    console.enter("To age", "40")
    console.click("Create promo")
    assert console.error_of("Last day") == "Must not be before “First day”."
    console.set_date("Last day", "2099-02-01")
    console.click("Create promo")
    console.wait_heading("Ten percent off.")


def test_lost_response(console: Console, company: Account) -> None:
    """A repeated submit has the same Idempotency-Key; other content, of another mode too, has another key."""
    console.open("/promos/new", token=company.token)
    console.enter("Offer", "Ten percent off.")
    console.enter("Code", "TEN-OFF")
    console.enter("Limit of activations", "10")
    console.use_network(online=False)
    console.sent()
    for limit in ("10", "10", "20"):
        console.enter("Limit of activations", limit)
        console.click("Create promo")
        console.see("The service can't be reached", "[role=alert]")
    console.click("Many codes, each used once")
    console.click("One code for everybody")
    console.enter("Limit of activations", "10")
    console.use_network(online=True)
    console.click("Create promo")
    console.wait_heading("Ten percent off.")
    keys = [sent.headers["Idempotency-Key"] for sent in _changes(console)]
    assert [keys.index(key) for key in keys] == [0, 0, 2, 0]


def test_edit_sends_changes(console: Console, company: Account) -> None:
    """Nothing changed: no request. Otherwise it has the changed members only, and null for a removed value."""
    promo = company.create_promo(active_until="2099-11-30", max_count=10, target={"country": "FR"})
    console.open(f"/promos/{promo}/edit", token=company.token)
    console.sent()
    console.click("Save")
    console.see("Nothing has changed.")
    assert _changes(console) == []
    console.enter("Limit of activations", "20")
    console.set_date("Last day", "")
    console.see("Has no end, for everybody in France.", _SUMMARY)
    console.click("Save")
    console.see("Your changes are saved.")
    [sent] = _changes(console)
    assert _body(sent) == {"max_count": 20, "active_until": None}
    assert sent.headers["If-Match"]


def test_edit_conflict(console: Console, company: Account, server: Server) -> None:
    """Changes of someone else are named; after they are loaded, one's own entries are still there and are saved."""
    promo = company.create_promo(max_count=10, comments_enabled=True)
    user = server.accounts.sign_up_user()
    console.open(f"/promos/{promo}/edit", token=company.token)
    console.enter("Limit of activations", "20")
    company.patch(f"/business/promo/{promo}", json={"comments_enabled": False})
    console.click("Save")
    console.see("Someone else has changed “People can comment” meanwhile.", "[role=alert]")
    console.see("People can't comment.", _SUMMARY)
    user.post(f"/user/promo/{promo}/activate")
    console.enter("Limit of activations", "0")
    console.click("Save")
    assert console.error_of("Limit of activations") == "Must not be less than “Used”."
    console.enter("Limit of activations", "20")
    console.click("Save")
    console.see("Your changes are saved.")
    stored = company.get(f"/business/promo/{promo}").json()
    assert (stored["max_count"], stored["comments_enabled"]) == (20, False)


def test_lost_response_to_an_edit(console: Console, company: Account) -> None:
    """If all entries are stored already, a repeated edit is no conflict with oneself."""
    promo = company.create_promo(max_count=10)
    console.open(f"/promos/{promo}/edit", token=company.token)
    console.enter("Limit of activations", "20")
    company.patch(f"/business/promo/{promo}", json={"max_count": 20})
    console.click("Save")
    console.see("Your changes are saved.")


@pytest.fixture
def promos(company: Account) -> Account:
    """A company with an active, a paused and a scheduled promo."""
    company.create_promo(description="Coffee for everybody.", promo_common="BEANS-1")
    paused = company.create_promo(description="Tea for everybody.", promo_common="LEAVES-1")
    company.patch(f"/business/promo/{paused}", json={"paused": True})
    company.create_promo(description="Coffee in spring.", promo_unique=["A-1", "A-2"], active_from="2099-03-01")
    return company


def test_list(console: Console, promos: Account) -> None:
    """Tabs, a search and filters narrow the list; they are in the address, so that reload and back keep them."""
    console.open("/promos", token=promos.token)
    console.see("3 promos")
    console.see("0 of 2", _LIST)
    console.see("from 1 March 2099", _LIST)
    console.click("Paused", ".tabs")
    console.see("1 promo")
    console.see("LEAVES-1", _LIST)
    console.click("All", ".tabs")
    console.see("3 promos")
    console.type(lambda: console.field("Search"), "coff")
    console.see("2 promos")
    console.choose("Codes", "Many codes, each used once")
    console.see("1 promo")
    assert console.browser.current_url.endswith("#/promos?q=coff&mode=UNIQUE")
    console.click("Coffee in spring.")
    console.wait_heading("Coffee in spring.")
    console.browser.back()
    console.wait_heading("Promos")
    assert console.field("Search").get_property("value") == "coff"
    console.see("1 promo")
    console.click("Expired", ".tabs")
    console.see("No promo matches.")
    console.click("Show all promos")
    console.see("3 promos")


def test_short_search(console: Console, promos: Account) -> None:
    """A search that is too short says so, and finds all."""
    console.open("/promos", token=promos.token)
    console.type(lambda: console.field("Search"), "c")
    console.see("Must have at least 2 characters.", "[role=alert]")
    console.see("3 promos")
