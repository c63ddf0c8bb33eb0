"""The profile of a company."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from promo_api.app import create_app
from promo_api.config.settings import Settings
from promo_api.config.values import Rate
from promo_api.runtime import Runtime
from tests.accounts import PASSWORD, Account, Api

NEW_PASSWORD = "An0ther&Word"
PATH = "/business/profile"


def _sign_in(company: Account, password: str) -> int:
    body = {"email": company.email, "password": password}
    return int(company.api.call("POST", "/business/auth/sign-in", json=body).status_code)


def _events(runtime: Runtime, company: Account) -> list[tuple[str, list[str] | None]]:
    query = text("SELECT event, members FROM account_log WHERE account_id = :id ORDER BY id")
    with runtime.database.autocommit() as connection:
        return [(event, members) for event, members in connection.execute(query, {"id": company.id})]


def test_read(api: Api) -> None:
    """The profile has the id, the name and the e-mail address of the sign-up."""
    company = api.sign_up_company()
    profile = {"id": company.id, "name": company.body["name"], "email": company.email}
    assert company.get(PATH).json() == profile


def test_rename(api: Api, runtime: Runtime) -> None:
    """A new name is shown at once, also to users, and recorded; the same name again is not recorded."""
    company = api.sign_up_company()
    promo_id = company.create_promo()
    for _ in range(2):
        changed = company.patch(PATH, json={"name": "Southern Coffee"})
        assert (changed.status_code, changed.json()["name"]) == (200, "Southern Coffee")
    assert company.get(PATH).json() == changed.json()
    assert api.sign_up_user().get(f"/user/promo/{promo_id}").json()["company_name"] == "Southern Coffee"
    assert _events(runtime, company) == [("signed_up", None), ("profile_changed", ["name"])]


def test_change_password(api: Api, runtime: Runtime) -> None:
    """A new password needs the old one; tokens stay valid, and the name may change with it."""
    company = api.sign_up_company()
    body = {"name": "Eastern Coffee", "password": NEW_PASSWORD, "old_password": PASSWORD}
    changed = company.patch(PATH, json=body)
    assert (changed.status_code, changed.json()["name"]) == (200, "Eastern Coffee")
    assert company.get(PATH).status_code == 200
    assert sorted(_events(runtime, company)) == [
        ("password_changed", None),
        ("profile_changed", ["name"]),
        ("signed_up", None),
    ]
    assert (_sign_in(company, PASSWORD), _sign_in(company, NEW_PASSWORD)) == (401, 200)


def test_wrong_password(api: Api) -> None:
    """With a wrong old password nothing changes, the name neither."""
    company = api.sign_up_company()
    before = company.get(PATH).json()
    body = {"name": "Eastern Coffee", "password": NEW_PASSWORD, "old_password": "Wr0ng&Word"}
    refused = company.patch(PATH, json=body)
    assert (refused.status_code, refused.json()["code"]) == (403, "wrong_password")
    assert company.get(PATH).json() == before
    assert _sign_in(company, PASSWORD) == 200


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"password": NEW_PASSWORD}, "/old_password"),
        ({"password": NEW_PASSWORD, "old_password": None}, "/old_password"),
        ({"old_password": PASSWORD}, "/password"),
        ({"name": "x"}, "/name"),
        ({"email": "a@b.example"}, "/email"),
    ],
)
def test_invalid_changes(api: Api, body: dict[str, Any], pointer: str) -> None:
    """A new password and the old one need each other; the e-mail address cannot be changed."""
    refused = api.sign_up_company().patch(PATH, json=body)
    assert refused.status_code == 400
    assert [each["pointer"] for each in refused.json()["details"]] == [pointer]


def test_empty_changes(api: Api, runtime: Runtime) -> None:
    """An empty object and null change nothing."""
    company = api.sign_up_company()
    before = company.get(PATH).json()
    for body in ({}, {"name": None, "password": None, "old_password": None}):
        assert company.patch(PATH, json=body).json() == before
    assert _events(runtime, company) == [("signed_up", None)]


def test_outdated_password_change(api: Api) -> None:
    """With If-Match, a change of the password fails if the name has changed, even with the right password."""
    company = api.sign_up_company()
    tag = company.get(PATH).headers["etag"]
    assert company.patch(PATH, json={"name": "Western Coffee"}).status_code == 200
    body = {"password": NEW_PASSWORD, "old_password": PASSWORD}
    assert company.patch(PATH, json=body, headers={"If-Match": tag}).status_code == 412
    assert _sign_in(company, PASSWORD) == 200


@pytest.mark.usefixtures("runtime")
def test_limit_of_password_changes(settings: Settings) -> None:
    """Password changes of a company are limited; other changes are not."""
    changed = Runtime.open(replace(settings, password_changes_per_user=Rate(2, 3600)))
    with TestClient(create_app(changed), raise_server_exceptions=False) as client:
        company = Api(client).sign_up_company()
        body = {"password": PASSWORD, "old_password": PASSWORD}
        assert [company.patch(PATH, json=body).status_code for _ in range(3)] == [200, 200, 429]
        assert company.patch(PATH, json={"name": "Western Coffee"}).status_code == 200


def test_guesses_count_as_failed_sign_ins(api: Api) -> None:
    """Wrong old passwords count as failed sign-ins of the account."""
    company = api.sign_up_company()
    body = {"password": NEW_PASSWORD, "old_password": "Wr0ng&Word"}
    statuses = [company.patch(PATH, json=body).status_code for _ in range(21)]
    assert statuses == [403] * 20 + [429]
    assert _sign_in(company, PASSWORD) == 429
