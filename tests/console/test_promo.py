"""The page of one promo in the console: state, statistics, codes, comments and changes."""

from pathlib import Path

import pytest

from tests.accounts import Account
from tests.console.browser import Console
from tests.e2e.server import Server

_FILE_CODES = 100_000
# Records the values that a progress bar has shown.
_RECORD = """
const record = () => document.querySelectorAll("main progress").forEach(({ value }) => window.shown.push(value));
window.shown = [];
new MutationObserver(record).observe(document.body, { childList: true, subtree: true });
"""


def _open(console: Console, company: Account, promo_id: str, tab: str = "statistics") -> None:
    console.open(f"/promos/{promo_id}?tab={tab}", token=company.token)


def _unique_promo(company: Account) -> str:
    return company.create_promo(promo_unique=["FIRST-1", "FIRST-2"])


def _confirm(console: Console, action: str) -> None:
    console.click(action)
    console.click(action)


def _activate(server: Server, promo_id: str, *countries: str) -> None:
    for country in countries:
        response = server.accounts.sign_up_user(country=country).post(f"/user/promo/{promo_id}/activate")
        assert response.status_code == 200, response.text


def _tile(console: Console, label: str) -> str:
    return next(each.text for each in console.find_all(".tile") if each.text.startswith(label))


def _downloaded(console: Console, folder: Path, button: str) -> str:
    """Click a button, and return the text of the file that the browser saves."""
    console.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    before = set(folder.iterdir())
    console.click(button)
    (saved,) = console.until(lambda: {each for each in folder.iterdir() if each.suffix in (".csv", ".ndjson")} - before)
    return str(saved.read_bytes().decode())


def test_pause_continue_archive_and_restore(console: Console, company: Account) -> None:
    """Each change is confirmed, shown in the head, and described in the audit log."""
    promo_id = company.create_promo()
    _open(console, company, promo_id)
    for action, state in {"Pause": "Paused", "Continue": "Active", "Archive": "Archived", "Restore": "Active"}.items():
        console.click(action)
        console.see(f"{action} this promo?", "dialog")
        console.click(action)
        console.see(state, "main header .badge")
    company.patch(f"/business/promo/{promo_id}", json={"max_count": 800, "target": {"age_from": 18, "country": "fr"}})
    console.click("Changes")
    console.see("For whom: everybody → people from 18 in France\nLimit of activations: 1,000 → 800", "tbody")
    lines = [
        line
        for line in console.find("tbody").text.splitlines()
        if line in ("Paused", "Continued", "Archived", "Restored")
    ]
    assert lines == ["Restored", "Archived", "Continued", "Paused"]
    assert "Created" in console.find("tbody tr:last-child").text


def test_statistics_by_country(console: Console, company: Account, server: Server) -> None:
    """The numbers are by country in bars, a chart and its table, and refresh without changing the focus or the view."""
    promo_id = company.create_promo(max_count=8)
    _activate(server, promo_id, "fr", "fr", "fr", "de")
    _open(console, company, promo_id)
    console.see("France\n3 75%\nGermany\n1 25%", ".bars")
    assert _tile(console, "Used") == "Used\n4\nof 8 (50%)"
    console.choose("Period", "Last 12 months")
    console.click("By country")
    console.see("France\nGermany\nOther or unknown", ".legend")
    console.click("Show as a table")
    console.until(lambda: console.find(".plot tbody tr:last-child").text.split()[-3:] == ["3", "1", "0"])
    interval = console.field("Interval")
    interval.send_keys("")
    _activate(server, promo_id, "de")
    console.until(lambda: _tile(console, "Activations") == "Activations\n5")
    console.until(lambda: console.find(".plot tbody tr:last-child").text.split()[-3:] == ["3", "2", "0"])
    assert console.browser.switch_to.active_element == interval


def test_statistics_as_a_file(console: Console, company: Account, server: Server, tmp_path: Path) -> None:
    """The file has the buckets of the chosen period, and a promo without activations says so."""
    promo_id = company.create_promo()
    _open(console, company, promo_id)
    console.see("There are no activations yet.")
    console.see("Nothing happened in this period.")
    _activate(server, promo_id, "fr")
    rows = _downloaded(console, tmp_path, "Download CSV").splitlines()
    assert rows[0] == "start,activations,redemptions,likes,comments"
    assert (len(rows) - 1, rows[-1].split(",")[1]) == (30, "1")


def test_import_of_a_file(console: Console, company: Account, tmp_path: Path) -> None:
    """The import of 100,000 codes shows its progress, its counts and its rejected rows."""
    file = tmp_path / "codes.csv"
    rows = ["code", "x", "FIRST-1", *(f"CODE-{number:06}" for number in range(_FILE_CODES))]
    file.write_text("\n".join(rows))
    _open(console, company, _unique_promo(company), "codes")
    console.click("Import a file")
    console.choose_file("File", str(file))
    console.script(_RECORD)
    console.click("Upload")
    console.see("Succeeded", "section:has(.jobs)")
    shown = console.script("return window.shown")
    assert shown == sorted(shown)
    assert shown[0] < shown[-1] == 100
    console.see("Added: 100,000 · Duplicates: 1 · Rejected: 1", "section:has(.jobs)")
    console.until(lambda: _tile(console, "Codes") == "Codes\n100,002")
    folder = tmp_path / "saved"
    folder.mkdir()
    assert _downloaded(console, folder, "Download rejected rows").splitlines()[1].startswith("2,too_short,")


@pytest.mark.parametrize(("content", "message"), [(None, "Is required."), ("", "The file is empty.")])
def test_files_that_are_not_sent(
    console: Console, company: Account, tmp_path: Path, content: str | None, message: str
) -> None:
    """Without a file, or with an empty one, the message is at the field, and nothing is uploaded."""
    _open(console, company, _unique_promo(company), "codes")
    console.click("Import a file")
    if content is not None:
        (tmp_path / "codes.txt").write_text(content)
        console.choose_file("File", str(tmp_path / "codes.txt"))
    console.sent()
    console.click("Upload")
    console.until(lambda: console.error_of("File") == message)
    assert [each.path for each in console.sent() if each.method == "POST"] == []


def test_generate_and_export(console: Console, company: Account, server: Server, tmp_path: Path) -> None:
    """A pattern that is too short is refused in the dialog; then codes are generated, filtered and exported."""
    promo_id = _unique_promo(company)
    _activate(server, promo_id, "fr")
    _open(console, company, promo_id, "codes")
    console.click("Generate codes")
    console.enter("Number of codes", "30")
    console.enter("Pattern", "NEW-##")
    console.click("Generate")
    console.until(lambda: "must have at least" in console.error_of("Pattern").lower())
    console.enter("Pattern", "NEW-########")
    console.click("Generate")
    console.see("Succeeded", "section:has(.jobs)")
    console.until(lambda: (_tile(console, "Given out"), _tile(console, "Left")) == ("Given out\n1", "Left\n31"))
    console.click("Show more")
    console.until(lambda: len(console.find_all("tbody tr")) == 32)
    console.choose("State", "Given out")
    console.until(lambda: len(console.find_all("tbody tr")) == 1)
    console.see("France", "tbody")
    assert _downloaded(console, tmp_path, "Download CSV").splitlines()[1].startswith("FIRST-1,1,issued,")
    console.choose("State", "Redeemed")
    console.see("There are no such codes.")


def test_a_running_job(console: Console, company: Account) -> None:
    """A job that another program has begun is shown, and followed to its end."""
    promo_id = _unique_promo(company)
    body = {"count": 40_000, "pattern": "OTHER-############"}
    assert company.post(f"/business/promo/{promo_id}/codes/generate", json=body).status_code == 202
    _open(console, company, promo_id, "codes")
    console.see("Generation", "section:has(.jobs)")
    console.see("Succeeded", "section:has(.jobs)")
    console.until(lambda: _tile(console, "Codes") == "Codes\n40,002")


def test_removal_of_a_comment(console: Console, company: Account, server: Server) -> None:
    """A reported comment is found by the filter, its reasons are shown, and it is removed after a question."""
    promo_id = company.create_promo()
    user, reporter = server.accounts.sign_up_user(), server.accounts.sign_up_user()
    texts = ["The coffee was worth it.", "Buy followers here."]
    comments = [user.post(f"/user/promo/{promo_id}/comments", json={"text": text}).json()["id"] for text in texts]
    reporter.post(f"/user/promo/{promo_id}/comments/{comments[1]}/report", json={"reason": "spam"})
    _open(console, company, promo_id, "comments")
    console.see(texts[0], "tbody")
    console.click("Only reported comments")
    console.not_see(texts[0], ".list")
    console.click("1 report")
    console.see("Spam", "tbody")
    _confirm(console, "Remove")
    console.see("There are no comments.")
    console.click("Only reported comments")
    console.see(texts[0], ".list")
    console.click("Changes")
    console.see("Comment removed", "tbody")


def test_promo_of_another_company(console: Console, company: Account, server: Server) -> None:
    """It is not shown, and a link leads to the own promos."""
    other = server.accounts.sign_up_company()
    _open(console, company, other.create_promo())
    console.wait_heading("This promo can't be shown")
    console.click("Go to the promos")
    console.wait_heading("Promos")


@pytest.mark.parametrize("tab", ["statistics", "codes", "comments", "changes"])
def test_tabs_on_a_phone(console: Console, company: Account, server: Server, axe: str, tab: str) -> None:
    """Each tab is as wide as a phone, and axe finds nothing in either colour scheme."""
    promo_id = company.create_promo(
        promo_unique=["A" * 30, "B" * 30], description="Coffee" * 50, target={"country": "fr"}, comments_enabled=True
    )
    user = server.accounts.sign_up_user(country="fr")
    user.post(f"/user/promo/{promo_id}/activate")
    user.post(f"/user/promo/{promo_id}/comments", json={"text": "x" * 300})
    console.use_size(360)
    for scheme in ("light", "dark"):
        console.use_colors(scheme)
        _open(console, company, promo_id, tab)
        assert console.overflow() <= 0
        assert console.findings(axe) == []
