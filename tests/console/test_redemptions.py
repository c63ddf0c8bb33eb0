"""Redemptions in the console: look up, redeem, hold, confirm, release and void."""

import pytest

from tests.accounts import Account
from tests.console.browser import Console
from tests.e2e.server import Server

_ROWS = ".list tbody tr"
_REDEEM = "Redeem or hold"


def _activate(server: Server, promo: str) -> None:
    assert server.accounts.sign_up_user().post(f"/user/promo/{promo}/activate").status_code == 200


@pytest.fixture
def shop(server: Server, company: Account) -> Account:
    """A company with a code that was issued, and one that was not."""
    _activate(server, company.create_promo(description="A free cup", promo_unique=["CUP-1", "CUP-2"]))
    return company


def test_redeem_and_void(console: Console, shop: Account) -> None:
    """A valid code is redeemed for an order, and its redemption is voided after a question."""
    console.open("/redemptions", token=shop.token)
    console.see("No code has been redeemed yet.")
    console.enter("Code", "cup-1")
    console.click("Look up")
    console.see("Valid")
    console.see("A free cup")
    console.enter("Order", "A-1", ".actions")
    console.click(_REDEEM)
    console.see("CUP-1 is redeemed.")
    console.see("A free cup", _ROWS)
    console.see("A-1", _ROWS)
    console.click("Void")
    console.click("Void")
    console.see("Voided", _ROWS)


def test_hold(console: Console, shop: Account) -> None:
    """A held code is refused to another order at the form, and its hold is confirmed in the list."""
    console.open("/redemptions", token=shop.token)
    console.enter("Code", "CUP-1")
    console.click("Look up")
    console.enter("Order", "A-1", ".actions")
    console.enter("Hold for (seconds)", "600")
    console.click(_REDEEM)
    console.see("Held", _ROWS)
    console.enter("Code", "CUP-1")
    console.click("Look up")
    console.see("The code is held for an order.")
    console.enter("Order", "A-2", ".actions")
    console.click(_REDEEM)
    console.see("hold", ".actions .form-error")
    console.click("Redeem", _ROWS)
    console.click("Redeem")
    console.see("Confirmed", _ROWS)


def test_reasons(console: Console, shop: Account) -> None:
    """A code that can't be redeemed gets the reason, and no form to redeem it."""
    console.open("/redemptions", token=shop.token)
    console.enter("Code", "CUP-2")
    console.click("Look up")
    console.see("Nobody has got this code yet.")
    console.enter("Code", "CUP-3")
    console.click("Look up")
    console.see("You have no promo with this code.")
    assert console.find_all("[role=status] + .actions form") == []


def test_choice_of_promos(console: Console, company: Account, server: Server) -> None:
    """If several promos have the code, the company chooses one."""
    for offer in ("Half of the price", "A piece of cake"):
        _activate(server, company.create_promo(description=offer, promo_common="SHARED"))
    console.open("/redemptions", token=company.token)
    console.enter("Code", "shared")
    console.click("Look up")
    console.click("A piece of cake")
    console.click(_REDEEM)
    console.see("A piece of cake", _ROWS)


def test_filters(console: Console, shop: Account) -> None:
    """The list is filtered by state and by order."""
    shop.post("/business/redemptions", json={"code": "CUP-1", "order_ref": "A-1"})
    console.open("/redemptions", token=shop.token)
    console.see("CUP-1", _ROWS)
    console.click("Held", ".tabs")
    console.see("No redemption matches.")
    console.click("All", ".tabs")
    console.see("CUP-1", _ROWS)
    console.enter("Order", "A-2", ".filters")
    console.click("Filter")
    console.see("No redemption matches.")
    console.click("Show all redemptions")
    console.see("CUP-1", _ROWS)
