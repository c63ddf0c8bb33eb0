"""The overview: numbers, what needs attention, the newest promos, and the first use."""

from datetime import UTC, datetime, timedelta

from tests.accounts import Account
from tests.console.browser import Console
from tests.e2e.server import Server


def test_first_use(console: Console, company: Account) -> None:
    """A company without promos sees what to do first."""
    console.open(token=company.token)
    console.see("Create your first promo")
    console.click("Create a promo")
    console.until(lambda: console.browser.current_url.endswith("/promos/new"))


def test_numbers_and_attention(console: Console, company: Account, server: Server) -> None:
    """Activations are counted at once; a promo that runs out and ends soon needs attention, others do not."""
    soon = (datetime.now(UTC) + timedelta(days=3)).date().isoformat()
    scarce = company.create_promo(description="The last coffee", max_count=2, low_stock_percent=50, active_until=soon)
    company.create_promo(description="Plenty of cake")
    response = server.accounts.sign_up_user().post(f"/user/promo/{scarce}/activate")
    assert response.status_code == 200
    console.open(token=company.token)
    tiles = [tile.text.splitlines()[:2] for tile in console.find_all(".tile")]
    assert tiles == [
        ["Activations · Last 24 hours", "1"],
        ["Redemptions · Last 24 hours", "0"],
        ["Activations · Last 30 days", "1"],
        ["Redemptions · Last 30 days", "0"],
    ]
    attention = console.find_text(".card", "Needs attention").text
    assert "The last coffee\nRunning out\n1 of 2 uses left. Ends on " in attention
    assert "Plenty of cake" not in attention
    console.click("Last 24 hours")
    console.click("Show as a table")
    assert len(console.find_all(".plot tbody tr")) == 24


def test_nothing_to_attend_to(console: Console, company: Account) -> None:
    """The overview says that nothing needs attention."""
    company.create_promo()
    console.open(token=company.token)
    console.see("Nothing needs your attention.")
