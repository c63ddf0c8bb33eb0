"""The whole story by clicks: a company signs up, runs a campaign, and finds out who used it."""

from pathlib import Path

from tests.accounts import PASSWORD, new_email
from tests.console.browser import Console
from tests.e2e.server import Server

_NEW_CODES = 100


def test_campaign(console: Console, server: Server, tmp_path: Path) -> None:
    """From the sign-up to the statistics, everything that a campaign needs is on the screens."""
    _sign_up(console, server)
    _create_promo(console)
    _import_codes(console, server, tmp_path)
    promo_id = console.browser.current_url.partition("#/promos/")[2][:36]
    users = [server.accounts.sign_up_user(country=country) for country in ("fr", "fr", "us", "fr")]
    codes = [user.post(f"/user/promo/{promo_id}/activate").json()["promo"] for user in users[:2]]
    _pause(console)
    assert users[3].post(f"/user/promo/{promo_id}/activate").json()["reasons"] == ["paused"]
    _find_users_by_country(console)
    _redeem_and_void(console, codes[0])
    console.click("Overview")
    console.see("2", ".tile dd")
    console.click("Sign out")
    console.wait_heading("Sign in")


def _sign_up(console: Console, server: Server) -> None:
    email = new_email()
    server.remote.secrets |= {email, PASSWORD}
    console.open("/sign-up")
    console.enter("Name", "Northern Coffee")
    console.enter("E-mail", email)
    console.enter("Password", PASSWORD)
    console.click("Create account")
    console.wait_heading("Overview")


def _create_promo(console: Console) -> None:
    console.click("Create a promo")
    console.wait_heading("New promo")
    console.click("Many codes, each used once")
    console.enter("Offer", "A free espresso for everybody in France")
    console.enter("First codes, one on each line", "BEAN-1\nBEAN-2")
    console.enter("From age", "18")
    console.choose("Country", "France")
    console.set_date("Last day", "2031-11-30")
    console.see("Ends on 30 November 2031, 23:59 UTC+3, for people from 18 in France.", ".summary")
    console.see("2 codes, each used once", ".summary")
    console.click("Create promo")
    console.wait_heading("A free espresso for everybody in France")


def _import_codes(console: Console, server: Server, folder: Path) -> None:
    codes = [f"ROAST-{number}" for number in range(_NEW_CODES)]
    server.remote.secrets |= set(codes)
    file = folder / "codes.txt"
    file.write_text("\n".join(codes), encoding="utf-8")
    console.click("Codes")
    console.click("Import a file")
    console.choose_file("File", str(file))
    console.click("Upload")
    console.see(f"Added: {_NEW_CODES}")


def _pause(console: Console) -> None:
    console.click("Pause")
    console.see("People can't activate it until you continue it.", "dialog")
    console.press(lambda: console.find("dialog[open] .primary, dialog[open] .danger"))
    console.see("Paused", ".badge")


def _find_users_by_country(console: Console) -> None:
    console.click("Statistics")
    console.see("France", ".bars")
    assert console.find(".bars tbody tr").text.split() == ["France", "2", "100%"]


def _redeem_and_void(console: Console, code: str) -> None:
    console.click("Redemptions")
    console.enter("Code", code.lower())
    console.click("Look up")
    console.see("Valid")
    console.click("Redeem or hold")
    console.see(f"{code} is redeemed.")
    console.see("Confirmed", ".list .badge")
    console.click("Void")
    console.click("Void")
    console.see("Voided", ".list .badge")
