"""Reading, authorizing and executing operations on the documentation page."""

from pathlib import Path

import pytest
import yaml

from promo_api.app import SPECIFICATION
from tests.accounts import company_body, promo_body, user_body
from tests.e2e.server import Server
from tests.page.browser import Page


def _operations(path: Path) -> list[list[str]]:
    paths = yaml.safe_load(path.read_text(encoding="utf-8"))["paths"]
    return [
        [method.upper(), path, operation["summary"], operation["operationId"]]
        for path, operations in paths.items()
        for method, operation in operations.items()
    ]


def _sign_up(page: Page, server: Server, operation_id: str, body: dict[str, object]) -> str:
    response = page.execute(operation_id, body)
    assert response.status == 200, response
    token = str(response.body["token"])
    server.remote.secrets |= {token, str(body["email"]), str(body["password"])}
    return token


@pytest.mark.parametrize("path", ["/api/ui", "/api/ui/"])
def test_page_lists_all_operations(page: Page, path: str) -> None:
    """The page lists the operations in the order of api.yml, and cannot load another contract."""
    page.open(path)
    assert page.operations() == _operations(SPECIFICATION)
    assert page.browser.title == "Promo Code API"
    assert "Explore" not in page.browser.find_element("tag name", "body").text
    assert page.browser.current_url == f"{page.url}/api/ui/"


def test_page_sends_no_requests_to_other_hosts(page: Page) -> None:
    """All requests go to the server, and the browser console is empty."""
    page.open()
    assert page.execute("health.ping").status == 200
    assert page.hosts() == {page.url}
    assert page.console_messages() == []


def test_company_creates_a_promo(page: Page, server: Server) -> None:
    """A company signs up on the page, gets 401 without its token, and creates and lists a promo with it."""
    page.open()
    token = _sign_up(page, server, "business_auth.sign_up", company_body())
    assert page.execute("business_promos.list_promos").status == 401
    page.authorize("companyAuth", token)
    created = page.execute("business_promos.create_promo", promo_body())
    assert created.status == 201
    listed = page.execute("business_promos.list_promos")
    assert (listed.status, [promo["promo_id"] for promo in listed.body]) == (200, [created.body["id"]])
    assert page.hosts() == {page.url}


def test_user_reads_the_feed(page: Page, server: Server) -> None:
    """A user signs up on the page, gets 401 without a token, and the feed with it, but no operation of companies."""
    promo = server.accounts.sign_up_company().create_promo()
    page.open()
    token = _sign_up(page, server, "user_auth.sign_up", user_body())
    assert page.execute("user_promos.list_feed").status == 401
    page.authorize("userAuth", token)
    feed = page.execute("user_promos.list_feed")
    assert feed.status == 200
    assert feed.body[0]["promo_id"] == promo
    assert page.execute("business_promos.list_promos").status == 401


def test_token_for_each_scheme(page: Page, server: Server) -> None:
    """The dialog accepts a token for each scheme, and each operation uses the one that it requires."""
    page.open()
    page.authorize("companyAuth", server.accounts.sign_up_company().token)
    page.authorize("userAuth", server.accounts.sign_up_user().token)
    assert page.execute("business_promos.list_promos").status == 200
    assert page.execute("user_profile.get_profile").status == 200


def test_token_survives_reload(page: Page, server: Server) -> None:
    """A token survives a reload until the user logs out."""
    page.open()
    page.authorize("userAuth", server.accounts.sign_up_user().token)
    page.reload()
    assert page.execute("user_profile.get_profile").status == 200
    page.log_out("userAuth")
    page.reload()
    assert page.execute("user_profile.get_profile").status == 401


def test_url_opens_an_operation(page: Page) -> None:
    """A URL with an operation opens it, also without the trailing slash."""
    page.open("/api/ui#/Feed/user_promos.list_feed")
    assert page.open_operations() == ["user_promos.list_feed"]


def test_forms_start_with_defaults(page: Page) -> None:
    """Forms contain only defaults; optional filters are empty."""
    page.open()
    page.execute("user_promos.list_feed")
    assert page.filled_in("user_promos.list_feed") == {"limit": "10", "offset": "0", "category": "", "active": ""}
