"""Each screen at three widths, light and dark: accessible, nothing cut off, nothing from other hosts."""

import pytest

from tests.accounts import Account
from tests.console.browser import Console
from tests.e2e.server import Server

_PUBLIC = ["/sign-in", "/sign-up", "/forgot-password", "/reset-password"]
_EMPTY = ["/", "/promos", "/promos/new", "/redemptions", "/webhooks", "/keys", "/account", "/nothing"]
_FILLED = [
    "/",
    "/promos",
    "/promos/COMMON",
    "/promos/COMMON/edit",
    "/promos/COMMON?tab=comments",
    "/promos/COMMON?tab=changes",
    "/promos/UNIQUE?tab=codes",
    "/redemptions",
    "/webhooks",
    "/webhooks/WEBHOOK",
    "/keys",
]
# Width in pixels and colours. A phone, a tablet and a large screen; the tablet has the layout of a phone.
_WINDOWS = [(360, "light"), (800, "light"), (1600, "dark")]
_AXE_WIDTHS = (360, 1600)
_LONG = (
    "Half of the price of any coffee, and of each Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen too. " * 2
)


@pytest.fixture(scope="module")
def campaign(server: Server) -> tuple[Account, dict[str, str]]:
    """A company with data for each screen, and the ids in the addresses of screens."""
    company = server.accounts.sign_up_company(name="A company whose name has the maximum of characters")
    common = company.create_promo(description=_LONG, target={"country": "fr", "age_from": 18, "categories": ["coffee"]})
    unique = company.create_promo(promo_unique=["BEAN-1", "BEAN-2", "BEAN-3"], active_until="2031-11-30")
    user = server.accounts.sign_up_user(country="fr")
    for promo in (common, unique):
        code = user.post(f"/user/promo/{promo}/activate").json()["promo"]
        company.post("/business/redemptions", json={"code": code, "promo_id": promo, "order_ref": "order 17"})
    comment = user.post(f"/user/promo/{common}/comments", json={"text": _LONG}).json()["id"]
    reporter = server.accounts.sign_up_user()
    reporter.post(f"/user/promo/{common}/comments/{comment}/report", json={"reason": "spam"})
    company.patch(f"/business/promo/{common}", json={"max_count": 2000})
    webhook = company.post("/business/webhooks", json={"url": f"https://shop.example/{'hook-' * 30}"}).json()["id"]
    company.post("/business/keys", json={"name": "till", "scopes": ["redeem", "read"]})
    return company, {"COMMON": common, "UNIQUE": unique, "WEBHOOK": webhook}


@pytest.mark.parametrize("path", _PUBLIC)
def test_public_screens(console: Console, axe: str, path: str) -> None:
    """A screen without a session passes the checks."""
    _check(console, axe, path, None)


@pytest.mark.parametrize("path", _EMPTY)
def test_empty_screens(console: Console, company: Account, axe: str, path: str) -> None:
    """A screen of a company without data passes the checks."""
    _check(console, axe, path, company.token)


@pytest.mark.parametrize("path", _FILLED)
def test_screens(console: Console, campaign: tuple[Account, dict[str, str]], axe: str, path: str) -> None:
    """A screen with data and with long texts passes the checks."""
    company, ids = campaign
    for name, value in ids.items():
        path = path.replace(name, value)
    _check(console, axe, path, company.token)


def _check(console: Console, axe: str, path: str, token: str | None) -> None:
    console.open(path, token=token)
    # The browser may have opened pages of Chromium in its first tab.
    requested = {host for host in console.hosts() if host.startswith("http")}
    assert requested == {console.url}
    for width, scheme in _WINDOWS:
        console.use_size(width, 900)
        console.use_colors(scheme)
        console.until(lambda width=width: console.script("return innerWidth") == width)
        assert console.overflow() == 0, width
        assert width not in _AXE_WIDTHS or console.findings(axe) == [], width
