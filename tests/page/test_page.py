"""Reading the documentation page, and sending requests from it."""

import re
from urllib.parse import unquote

import pytest
from selenium.webdriver import Keys

from tests.accounts import company_body, promo_body, user_body
from tests.e2e.server import Server
from tests.operations import OPERATIONS, Operation
from tests.page.browser import Page
from tests.page.proxy import below_prefix
from tests.specification import specification

_BY_ID = {operation.id: operation for operation in OPERATIONS}
_PROFILE = _BY_ID["user_profile.get_profile"]
_PING = _BY_ID["health.ping"]
_OWN_PROMOS = _BY_ID["business_promos.list_promos"]
_FEED = _BY_ID["user_promos.list_feed"]
# Scalar tries `new Function`; nothing depends on it.
_HARMLESS_VIOLATION = "script-src eval"
_PHONE_WIDTH = 360


def _sign_up(page: Page, server: Server, operation_id: str, body: dict[str, object]) -> str:
    exchange = page.execute(_BY_ID[operation_id], body)
    assert exchange.status == 200, exchange
    token = str(exchange.body["token"])
    server.remote.secrets |= {token, str(body["email"]), str(body["password"])}
    return token


def _in_order_of_tags() -> list[Operation]:
    tags = [tag["name"] for tag in specification()["tags"]]
    return sorted(OPERATIONS, key=lambda operation: tags.index(operation.declared["tags"][0]))


def _address(page: Page) -> str:
    return page.browser.current_url.partition("#")[0]


def test_sidebar_lists_all_operations(page: Page) -> None:
    """The address of the server leads to the page, whose sidebar lists the operations by tag, as in api.yml."""
    page.open("/")
    assert (_address(page), page.browser.title) == (f"{page.url}/api/docs", "Promo Code API")
    expected = [(each.method, each.path, each.declared["summary"]) for each in _in_order_of_tags()]
    assert page.sidebar() == expected


def test_nothing_from_other_hosts(page: Page, server: Server) -> None:
    """Loading, searching, opening an operation of each tag, signing in and sending use only the server itself."""
    page.open()
    for operation in {each.declared["tags"][0]: each for each in OPERATIONS}.values():
        page.show(operation)
    _sign_up(page, server, "user_auth.sign_up", user_body())
    assert page.execute(_FEED).status == 200
    page.search("promo")
    page.until(lambda: "promo" in page.first_result())
    assert page.hosts() == {page.url}
    assert set(page.script("return window.violations")) <= {_HARMLESS_VIOLATION}
    assert page.console_messages() == []


def test_nothing_of_scalars_services(page: Page) -> None:
    """The page has no assistant, no generators and no links to Scalar."""
    page.open()
    page.try_out(_PING)
    text = page.script("return document.body.innerText")
    assert re.findall(r"\b(?:AI|MCP|SDKs?|Agent|Deploy|Share|Register|Scalar)\b", text) == []
    links = page.browser.find_elements("css selector", "a[href*='scalar']")
    assert [link.get_attribute("href") for link in links if link.is_displayed()] == []


def test_search(page: Page) -> None:
    """The search finds an operation with the keyboard alone, and opens it."""
    page.open()
    operation = _BY_ID["user_activations.get_eligibility"]
    page.search(operation.declared["summary"].lower())
    page.until(lambda: operation.declared["summary"] in page.first_result())
    page.browser.switch_to.active_element.send_keys(Keys.DOWN, Keys.ENTER)
    page.until(lambda: unquote(page.browser.current_url).endswith(f"/GET{operation.path}"))


def test_code_samples(page: Page) -> None:
    """A URL opens an operation, whose code sample calls this server. Other languages can be chosen."""
    page.open(f"/api/docs#tag/{_FEED.declared['tags'][0].lower()}/GET{_FEED.path}")
    section = f"section[id$='/GET{_FEED.path}']"
    page.until(lambda: f"curl '{page.url}/api/user/feed" in page.find(section).text)
    page.press(lambda: page.find_text(f"{section} button", "Shell Curl"))
    page.press(lambda: page.find_text("[role='option']", "Requests"))
    page.until(lambda: f'requests.get("{page.url}/api/user/feed' in page.find(section).text)


def test_company_creates_a_promo(page: Page, server: Server) -> None:
    """A company gets 401, signs up, and its token is in place: it creates and lists a promo."""
    page.open()
    assert page.execute(_OWN_PROMOS).status == 401
    token = _sign_up(page, server, "business_auth.sign_up", company_body())
    assert "companyAuth" in page.notices()
    created = page.execute(_BY_ID["business_promos.create_promo"], promo_body())
    assert (created.authorization, created.status) == (f"Bearer {token}", 201)
    listed = page.execute(_OWN_PROMOS)
    assert (listed.status, [promo["promo_id"] for promo in listed.body]) == (200, [created.body["id"]])


def test_user_activates_a_promo(page: Page, server: Server) -> None:
    """A user signs up and activates a promo; one for another country is refused. Forms begin with the defaults."""
    company = server.accounts.sign_up_company()
    promo, other = company.create_promo(), company.create_promo(target={"country": "fr"})
    page.open()
    _sign_up(page, server, "user_auth.sign_up", user_body())
    page.try_out(_FEED)
    assert page.filled_in() == {"accept": "application/json", "limit": "10"}
    page.close_client()
    activate = _BY_ID["user_activations.activate_promo"]
    assert page.execute(activate, id=promo).status == 200
    assert page.execute(activate, id=other).status == 403


def test_token_for_each_scheme(page: Page, server: Server) -> None:
    """Tokens of a company and a user are in place at once, each for its operations, and in no storage."""
    page.open()
    company = _sign_up(page, server, "business_auth.sign_up", company_body())
    user = _sign_up(page, server, "user_auth.sign_up", user_body())
    used = [page.execute(operation) for operation in (_OWN_PROMOS, _PROFILE)]
    assert [exchange[:2] for exchange in used] == [(f"Bearer {company}", 200), (f"Bearer {user}", 200)]
    assert not any(token in page.stored() for token in (company, user))
    page.open()
    assert page.execute(_PROFILE).status == 401


def test_sign_in_replaces_a_typed_token(page: Page, server: Server) -> None:
    """A sign-in replaces a token that was typed before. One that is typed later is used. None is stored."""
    user = server.accounts.sign_up_user()
    page.open()
    page.try_out(_PROFILE)
    page.type_token("typed")
    assert page.send().authorization == "Bearer typed"
    page.close_client()
    credentials = {name: user.body[name] for name in ("email", "password")}
    token = page.execute(_BY_ID["user_auth.sign_in"], credentials).body["token"]
    assert page.execute(_PROFILE)[:2] == (f"Bearer {token}", 200)
    page.try_out(_PROFILE)
    page.type_token("typed later")
    assert page.send().authorization == "Bearer typed later"
    assert "typed" not in page.stored()


def test_dark_mode(page: Page) -> None:
    """The page follows the system, and a switch changes that for good."""

    def is_dark() -> bool:
        colors = re.findall(r"\d+", page.script("return getComputedStyle(document.body).backgroundColor"))
        return max(int(color) for color in colors[:3]) < 64

    page.use_colors("dark")
    page.open()
    page.until(is_dark)
    page.press(lambda: page.find(".t-doc__sidebar button[aria-pressed]"))
    page.until(lambda: not is_dark())
    page.open()
    page.until(lambda: not is_dark())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility(page: Page, server: Server, axe: str, scheme: str) -> None:
    """The introduction, search, an operation, its client, responses and lists have no serious accessibility problem.

    Dark colors can only change the contrast.
    """
    rules = [] if scheme == "light" else ["color-contrast"]
    company, operation = server.accounts.sign_up_company(), _BY_ID["business_promos.create_promo"]
    page.use_colors(scheme)
    page.open()
    findings = {"introduction": page.findings(axe, *rules)}
    page.search("promo")
    page.until(lambda: "promo" in page.first_result())
    findings["search"] = page.findings(axe, *rules)
    page.open()
    section = page.show(operation)
    findings["operation"] = page.findings(axe, *rules)
    page.press(lambda: section.find_element("xpath", ".//button[contains(., 'Shell Curl')]"))
    page.until(lambda: page.find("[role='option']").is_displayed())
    findings["languages"] = page.findings(axe, *rules)
    page.open()
    page.try_out(operation)
    findings["client"] = page.findings(axe, *rules)
    assert page.send().status == 401
    findings["401"] = page.findings(axe, *rules)
    page.type_token(company.token)
    assert page.send().status == 201
    findings["201"] = page.findings(axe, *rules)
    page.press(lambda: page.find_text("button", "Selected Auth Type"))
    page.until(lambda: page.find("[role='option']").is_displayed())
    findings["schemes"] = page.findings(axe, *rules)
    assert {place: found for place, found in findings.items() if found} == {}


def test_phone(page: Page, axe: str) -> None:
    """On a phone nothing is wider than the screen, the menu opens, and requests can be sent."""
    page.use_size(_PHONE_WIDTH)
    page.open()
    assert page.script("return document.documentElement.scrollWidth") == _PHONE_WIDTH
    page.press(lambda: page.find_text("button", "Open Menu"))
    page.press(lambda: page.find_text("a", _PING.declared["summary"]))
    page.press(lambda: page.find(f"section[id$='/GET{_PING.path}'] .show-api-client-button"))
    assert page.send().status == 200
    assert page.script("return document.documentElement.scrollWidth") == _PHONE_WIDTH
    assert page.findings(axe) == []


def test_below_a_prefix(page: Page) -> None:
    """Behind a proxy that adds a prefix to all paths, the page works."""
    with below_prefix(page.url, "/promo") as url:
        page.url = url
        page.open("/api/ui")
        assert _address(page) == f"{url}/api/docs"
        assert page.execute(_PING).status == 200


def test_without_javascript(page: Page) -> None:
    """Without JavaScript the page says where the specification is."""
    page.use_scripts(allowed=False)
    page.browser.get(f"{page.url}/api/docs")
    assert "openapi.json" in page.find("body").text
    assert page.find("a").get_attribute("href") == f"{page.url}/api/openapi.json"
