"""Passwords of sign-in and account deletion: any text is checked, and any wrong one gets the same response."""

from typing import Any
from unicodedata import normalize

import pytest

from tests.accounts import PASSWORD, Account, Api, new_email
from tests.cases import all_cases

PROFILE = "/user/profile"
KINDS = ("business", "user")
WRONG = [
    "",
    " ",
    "x",
    "short",
    "Passw0rd",
    f"{PASSWORD} ",
    f"{PASSWORD}\n",
    f"\x00{PASSWORD}",
    f"{PASSWORD}\u202e",
    "пароль",
    "\U0001f511" * 100,
    "x" * 61,
    PASSWORD * 100,
    "a\u0323\u0301" * 3000,
    "\x00" * 10_000,
]


def _account(api: Api, kind: str, **changes: Any) -> Account:
    return api.sign_up_company(**changes) if kind == "business" else api.sign_up_user(**changes)


def _sign_in(api: Api, kind: str, email: str, password: object) -> Any:
    return api.call("POST", f"/{kind}/auth/sign-in", json={"email": email, "password": password})


@pytest.mark.parametrize("kind", KINDS)
@all_cases("password", WRONG)
def test_any_wrong_password(api: Api, kind: str, password: str) -> None:
    """Any text as a password gets the same 401, for a known and an unknown address, and never the rules."""
    responses = [_sign_in(api, kind, email, password) for email in (_account(api, kind).email, new_email())]
    assert [response.status_code for response in responses] == [401, 401]
    assert {response.json()["message"] for response in responses} == {"The e-mail address or the password is wrong."}
    assert all("details" not in response.json() for response in responses)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("password", [None, 5, ["x"], {}, "x" * 10_001])
def test_password_that_is_no_text(api: Api, kind: str, password: object) -> None:
    """A password that is not a string, or that has more than 10,000 characters, is a 400."""
    response = _sign_in(api, kind, new_email(), password)
    assert response.status_code == 400
    assert [detail["pointer"] for detail in response.json()["details"]] == ["/password"]


@all_cases("password", WRONG)
def test_deletion_with_any_wrong_password(api: Api, password: str) -> None:
    """Any wrong password is a 403, and deletes nothing."""
    user = api.sign_up_user()
    response = user.delete(PROFILE, json={"password": password})
    assert (response.status_code, response.json()["message"]) == (403, "The password is wrong.")
    assert user.get(PROFILE).status_code == 200


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("chosen", "typed"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_normal_form_of_a_password(api: Api, kind: str, chosen: Any, typed: Any) -> None:
    """A password signs in with composed and with decomposed letters, whichever of them was chosen."""
    password = "Pässwörd-한국-1"
    assert normalize(chosen, password) != normalize(typed, password)
    account = _account(api, kind, password=normalize(chosen, password))
    for form in (chosen, typed):
        assert _sign_in(api, kind, account.email, normalize(form, password)).status_code == 200
    assert _sign_in(api, kind, account.email, "Password-한국-1").status_code == 401


def test_normal_form_of_a_changed_password(api: Api) -> None:
    """A changed password signs in and confirms a deletion in either form."""
    password = "Ёжик-Йод 1Aa"
    user = api.sign_up_user()
    assert user.patch(PROFILE, json={"password": normalize("NFD", password)}).status_code == 200
    response = _sign_in(api, "user", user.email, normalize("NFC", password))
    token = response.json()["token"]
    body = {"password": normalize("NFC", password)}
    assert api.call("DELETE", PROFILE, token=token, json=body).status_code == 200
