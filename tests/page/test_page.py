"""The page, used as a person does: read, authorised, tried out."""

from pathlib import Path

import pytest
import yaml

from promo_api.app import SPECIFICATION
from tests.accounts import company_body, promo_body, user_body
from tests.e2e.server import Server
from tests.page.browser import Page


def _written(path: Path) -> list[list[str]]:
    paths = yaml.safe_load(path.read_text(encoding="utf-8"))["paths"]
    return [
        [method.upper(), path, operation["summary"], operation["operationId"]]
        for path, operations in paths.items()
        for method, operation in operations.items()
    ]


def _sign_up(page: Page, server: Server, operation_id: str, body: dict[str, object]) -> str:
    answer = page.execute(operation_id, body)
    assert answer.status == 200, answer
    token = str(answer.body["token"])
    server.remote.secrets |= {token, str(body["email"]), str(body["password"])}
    return token


@pytest.mark.parametrize("path", ["/api/ui", "/api/ui/"])
def test_page_shows_the_contract(page: Page, path: str) -> None:
    """The page shows each operation of api.yml in its order, with a title of its own and no way to another contract."""
    page.open(path)
    assert page.operations() == _written(SPECIFICATION)
    assert page.browser.title == "Promo Code API"
    assert "Explore" not in page.browser.find_element("tag name", "body").text
    assert page.browser.current_url == f"{page.url}/api/ui/"


def test_page_asks_nobody_else(page: Page) -> None:
    """Nothing of the page comes from another host, no badge is asked for, and the browser has no complaint."""
    page.open()
    assert page.execute("health.ping").status == 200
    assert page.hosts() == {page.url}
    assert page.complaints() == []


def test_company_publishes(page: Page, server: Server) -> None:
    """A company signs up on the page, is refused without its token, and with it creates a promo and finds it."""
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
    """A user signs up on the page, is refused without their token, and with it gets the feed; it opens nothing of
    companies.
    """
    promo = server.people.sign_up_company().create_promo()
    page.open()
    token = _sign_up(page, server, "user_auth.sign_up", user_body())
    assert page.execute("user_promos.list_feed").status == 401
    page.authorize("userAuth", token)
    feed = page.execute("user_promos.list_feed")
    assert feed.status == 200
    assert feed.body[0]["promo_id"] == promo
    assert page.execute("business_promos.list_promos").status == 401


def test_both_tokens_at_once(page: Page, server: Server) -> None:
    """The dialog takes a token for each scheme, and each operation is sent the one that it needs."""
    page.open()
    page.authorize("companyAuth", server.people.sign_up_company().token)
    page.authorize("userAuth", server.people.sign_up_user().token)
    assert page.execute("business_promos.list_promos").status == 200
    assert page.execute("user_profile.get_profile").status == 200


def test_token_outlasts_a_reload(page: Page, server: Server) -> None:
    """A token that was entered is still there when the page is loaded anew, until the person logs out."""
    page.open()
    page.authorize("userAuth", server.people.sign_up_user().token)
    page.reload()
    assert page.execute("user_profile.get_profile").status == 200
    page.log_out("userAuth")
    page.reload()
    assert page.execute("user_profile.get_profile").status == 401


def test_address_opens_an_operation(page: Page) -> None:
    """An address that names an operation opens it, also without the slash, so that it can be sent to somebody."""
    page.open("/api/ui#/B2C/user_promos.list_feed")
    assert page.open_operations() == ["user_promos.list_feed"]


def test_forms_start_with_defaults(page: Page) -> None:
    """Nobody is given a filter that they did not choose: only defaults are filled in."""
    page.open()
    page.execute("user_promos.list_feed")
    assert page.filled_in("user_promos.list_feed") == {"limit": "10", "offset": "0", "category": "", "active": ""}
