"""Sign-up and sign-in of companies."""

from typing import Any

import pytest
from sqlalchemy import text

from promo_api.runtime import Runtime
from tests.accounts import PASSWORD, Api, company_body, new_email
from tests.cases import all_cases

SIGN_UP = "/business/auth/sign-up"
SIGN_IN = "/business/auth/sign-in"


def _email(length: int) -> str:
    """Return an address of so many characters, 69 to 120: 64 of them before the @."""
    return f"{'b' * 64}@{'d' * (length - 69)}.com"


def _status(api: Api, **changes: Any) -> int:
    status: int = api.call("POST", SIGN_UP, json=company_body() | changes).status_code
    return status


def test_sign_up_opens_an_empty_account(api: Api) -> None:
    """The token of a sign-up opens the operations of companies, and the id is the one that promos carry."""
    company = api.sign_up_company(name="Southern Tea")
    assert company.get("/business/promo").json() == []
    promo = company.get(f"/business/promo/{company.create_promo()}").json()
    assert (promo["company_id"], promo["company_name"]) == (company.id, "Southern Tea")


@pytest.mark.parametrize("name", ["12345", "n" * 50, "Кофе!", "\U0001f680" * 50])
def test_name_of_5_to_50_characters(api: Api, name: str) -> None:
    """A name has 5 to 50 characters, however many bytes they take."""
    assert _status(api, name=name) == 200


@pytest.mark.parametrize("name", ["", "1234", "n" * 51, "Coffee\x00", 12345, None, ["Coffee"], True])
def test_name_out_of_bounds(api: Api, name: object) -> None:
    """Any other name is refused."""
    assert _status(api, name=name) == 400


@pytest.mark.parametrize("email", ["abc@q.io", _email(120), "A.b+c_d@Mail-1.Sub.EXAMPLE.com"])
def test_email_of_8_to_120_characters(api: Api, email: str) -> None:
    """An address has 8 to 120 characters and a dotted domain."""
    assert _status(api, email=email) == 200


@all_cases(
    "email",
    [
        "ab@q.io",
        _email(121),
        "",
        "plainaddress",
        "a@localhost",
        "@example.com",
        "name@",
        "two@@example.com",
        "a b@example.com",
        "name@exam ple.com",
        "name@example..com",
        "name@.example.com",
        ".name@example.com",
        "name@example.com\n",
        "name@example.com\x00",
        "Ann <ann@example.com>",
        "ann@example.com,bob@example.com",
        12345678,
        None,
        ["ann@example.com"],
    ],
)
def test_email_that_is_none(api: Api, email: object) -> None:
    """What is no e-mail address with a dotted domain is refused."""
    assert _status(api, email=email) == 400


@pytest.mark.parametrize("password", ["Passw0r!", "P" + "a" * 57 + "1$", "aA1@$!%*?&", "AAAAAAa1?"])
def test_password_of_8_to_60_characters(api: Api, password: str) -> None:
    """A password of each kind of character, 8 to 60 of them, is taken, and is the one to sign in with."""
    company = api.sign_up_company(password=password)
    answer = api.call("POST", SIGN_IN, json={"email": company.body["email"], "password": password})
    assert answer.status_code == 200


@all_cases(
    "password",
    [
        "Passw0!",
        "P" + "a" * 58 + "1$",
        "",
        "passw0rd!",
        "PASSW0RD!",
        "Password!",
        "Passw0rdd",
        "Passw0rd#",
        "Passw0rd! ",
        "Pass w0rd!",
        "Passw0rd!\n",
        "\nPassw0rd!",
        "Пassw0rd!A",
        "Passw0rd!\x00",
        "Passw0rd!-",
        "Passw0rd!^",
        12345678,
        None,
        {"x": 1},
    ],
)
@all_cases("path", [SIGN_UP, SIGN_IN])
def test_password_that_is_none(api: Api, path: str, password: object) -> None:
    """A password that lacks a kind of character, has another one or another length is refused by both operations."""
    body = company_body() | {"password": password}
    if path == SIGN_IN:
        del body["name"]
    answer = api.call("POST", path, json=body)
    assert answer.status_code == 400
    assert {detail["pointer"] for detail in answer.json()["details"]} == {"/password"}


@pytest.mark.parametrize("member", ["name", "email", "password"])
def test_sign_up_needs_every_member(api: Api, member: str) -> None:
    """Nothing of a sign-up may be left out, and what is left out is named."""
    body = company_body()
    del body[member]
    answer = api.call("POST", SIGN_UP, json=body)
    assert answer.status_code == 400
    assert [detail["pointer"] for detail in answer.json()["details"]] == [f"/{member}"]


@pytest.mark.parametrize("member", ["email", "password"])
def test_sign_in_needs_every_member(api: Api, member: str) -> None:
    """Nothing of a sign-in may be left out."""
    body = {"email": new_email(), "password": PASSWORD}
    del body[member]
    assert api.call("POST", SIGN_IN, json=body).status_code == 400


def test_refused_sign_up_stores_nothing(api: Api) -> None:
    """After a refused sign-up the address is free."""
    body = company_body()
    assert api.call("POST", SIGN_UP, json=body | {"name": "abc"}).status_code == 400
    assert api.call("POST", SIGN_IN, json={"email": body["email"], "password": PASSWORD}).status_code == 401
    assert api.call("POST", SIGN_UP, json=body).status_code == 200


@pytest.mark.parametrize("change", [str, str.upper, str.title])
def test_email_is_taken_in_any_case(api: Api, change: Any) -> None:
    """A second company can't have the address of the first, in whatever case."""
    email = api.sign_up_company().body["email"]
    assert _status(api, email=change(email)) == 409


def test_taken_email_keeps_the_first_account(api: Api) -> None:
    """A sign-up that is refused as taken changes neither the password nor the token of the account."""
    company = api.sign_up_company()
    assert _status(api, email=company.body["email"], password="0therPass!") == 409
    assert company.get("/business/promo").status_code == 200
    assert api.call("POST", SIGN_IN, json={"email": company.body["email"], "password": "0therPass!"}).status_code == 401


def test_company_and_user_share_an_email(api: Api) -> None:
    """The same address has an account of each kind, each with its own password, and a sign-in ends tokens of one."""
    company = api.sign_up_company()
    user = api.sign_up_user(email=company.body["email"], password="0therPass!")
    assert api.call("POST", SIGN_IN, json={"email": user.body["email"], "password": "0therPass!"}).status_code == 401
    assert api.call("POST", SIGN_IN, json={"email": user.body["email"], "password": PASSWORD}).status_code == 200
    assert user.get("/user/profile").status_code == 200
    assert company.get("/business/promo").status_code == 401


def test_sign_in_ends_earlier_tokens(api: Api) -> None:
    """Each sign-in makes a token that works, and ends all before it, the one of the sign-up too."""
    company = api.sign_up_company()
    tokens = [company.token]
    for _ in range(2):
        answer = api.call("POST", SIGN_IN, json={"email": company.body["email"], "password": PASSWORD})
        tokens.append(answer.json()["token"])
    statuses = [api.call("GET", "/business/promo", token=token).status_code for token in tokens]
    assert statuses == [401, 401, 200]


def test_sign_out_ends_every_token(api: Api) -> None:
    """A sign-out ends the token that asks, and the next sign-in gives one that works; a user of the address stays."""
    company = api.sign_up_company()
    user = api.sign_up_user(email=company.body["email"])
    answer = company.post("/business/auth/sign-out")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert company.get("/business/promo").status_code == company.post("/business/auth/sign-out").status_code == 401
    credentials = {"email": company.body["email"], "password": PASSWORD}
    token = api.call("POST", SIGN_IN, json=credentials).json()["token"]
    assert api.call("GET", "/business/promo", token=token).status_code == 200
    assert user.get("/user/profile").status_code == 200


def test_sign_in_in_any_case(api: Api) -> None:
    """The case of the address does not matter at sign-in; that of the password does."""
    email = api.sign_up_company().body["email"].upper()
    assert api.call("POST", SIGN_IN, json={"email": email, "password": PASSWORD}).status_code == 200
    assert api.call("POST", SIGN_IN, json={"email": email, "password": "pASSW0RD!"}).status_code == 401


def test_refused_sign_in_ends_no_token(api: Api) -> None:
    """A sign-in with a wrong password leaves the tokens as they are."""
    company = api.sign_up_company()
    answer = api.call("POST", SIGN_IN, json={"email": company.body["email"], "password": "Wr0ngPass!"})
    assert answer.status_code == 401
    assert company.get("/business/promo").status_code == 200


def test_refused_sign_in_tells_nothing(api: Api) -> None:
    """An unknown address, that of a user, and a wrong password get the same answer."""
    known, user = api.sign_up_company().body["email"], api.sign_up_user().body["email"]
    answers = [
        api.call("POST", SIGN_IN, json={"email": known, "password": "Wr0ngPass!"}),
        api.call("POST", SIGN_IN, json={"email": new_email(), "password": PASSWORD}),
        api.call("POST", SIGN_IN, json={"email": user, "password": PASSWORD}),
    ]
    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert len({answer.text for answer in answers}) == 1
    assert {answer.headers["www-authenticate"] for answer in answers} == {"Bearer"}


def test_password_is_kept_as_a_salted_hash(api: Api, runtime: Runtime) -> None:
    """Two companies with the same password have different argon2id hashes, and no column holds the password."""
    emails = [api.sign_up_company().body["email"] for _ in range(2)]
    with runtime.database.engine.connect() as connection:
        query = text("SELECT * FROM companies WHERE email = ANY(:emails)")
        rows = connection.execute(query, {"emails": emails}).all()
    hashes = {row.password_hash for row in rows}
    assert len(hashes) == 2
    assert all(password_hash.startswith("$argon2id$") for password_hash in hashes)
    assert not any(PASSWORD in str(value) for row in rows for value in row)
