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
    """Return an address of 70 or more characters, 64 of them before the @."""
    return f"{'b' * 64}@{'d' * (length - 69)}.com"


def _status(api: Api, **changes: Any) -> int:
    status: int = api.call("POST", SIGN_UP, json=company_body() | changes).status_code
    return status


def test_sign_up(api: Api) -> None:
    """A sign-up returns a token for the company operations, and the company id that its promos have."""
    company = api.sign_up_company(name="Southern Tea")
    assert company.get("/business/promo").json() == []
    promo = company.get(f"/business/promo/{company.create_promo()}").json()
    assert (promo["company_id"], promo["company_name"]) == (company.id, "Southern Tea")


@pytest.mark.parametrize("name", ["HP", "Acme", "IKEA", "n" * 50, "Кофе!", "\U0001f680" * 50])
def test_name_of_2_to_50_characters(api: Api, name: str) -> None:
    """A name has 2 to 50 characters of any number of bytes."""
    assert _status(api, name=name) == 200


@pytest.mark.parametrize("name", ["", "1", "n" * 51, "Coffee\x00", "  ", "Coffee\n", 12345, None, ["Coffee"], True])
def test_invalid_name(api: Api, name: object) -> None:
    """Any other name is a 400."""
    assert _status(api, name=name) == 400


@pytest.mark.parametrize(
    "email", ["a@q.io", _email(120), "A.b+c_d@Mail-1.Sub.EXAMPLE.com", "ann@xn--e1afmkfd.xn--p1ai"]
)
def test_email_of_6_to_120_characters(api: Api, email: str) -> None:
    """An address has 6 to 120 characters and a dotted domain, which may be international."""
    assert _status(api, email=email) == 200


@all_cases(
    "email",
    [
        "a@q.i",
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
def test_invalid_email(api: Api, email: object) -> None:
    """Anything but an e-mail address with a dotted domain is a 400."""
    assert _status(api, email=email) == 400


@pytest.mark.parametrize(
    "password", ["Passw0r!", "P" + "a" * 57 + "1$", "aA1@$!%*?&", "AAAAAAa1?", "Pass w0rd", "Пароль-1 Aa"]
)
def test_password_of_8_to_60_characters(api: Api, password: str) -> None:
    """A password of 8 to 60 characters of all four kinds is accepted, and signs the company in."""
    company = api.sign_up_company(password=password)
    response = api.call("POST", SIGN_IN, json={"email": company.body["email"], "password": password})
    assert response.status_code == 200


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
        "Пароль 1!",
        "Passw0rd!\n",
        "\nPassw0rd!",
        "Passw0rd!\x00",
        "Passw0rd!\x7f",
        "Passw0rd!\u202e",
        12345678,
        None,
        {"x": 1},
    ],
)
def test_invalid_password(api: Api, password: object) -> None:
    """A password of another length, or without the four required kinds of characters, is a 400."""
    response = api.call("POST", SIGN_UP, json=company_body() | {"password": password})
    assert response.status_code == 400
    assert {detail["pointer"] for detail in response.json()["details"]} == {"/password"}


@pytest.mark.parametrize("member", ["name", "email", "password"])
def test_sign_up_requires_every_member(api: Api, member: str) -> None:
    """A sign-up without one of its members is a 400 that names the member."""
    body = company_body()
    del body[member]
    response = api.call("POST", SIGN_UP, json=body)
    assert response.status_code == 400
    assert [detail["pointer"] for detail in response.json()["details"]] == [f"/{member}"]


@pytest.mark.parametrize("member", ["email", "password"])
def test_sign_in_requires_every_member(api: Api, member: str) -> None:
    """A sign-in without one of its members is a 400."""
    body = {"email": new_email(), "password": PASSWORD}
    del body[member]
    assert api.call("POST", SIGN_IN, json=body).status_code == 400


def test_refused_sign_up_stores_nothing(api: Api) -> None:
    """After a refused sign-up the e-mail address is still available."""
    body = company_body()
    assert api.call("POST", SIGN_UP, json=body | {"name": "a"}).status_code == 400
    assert api.call("POST", SIGN_IN, json={"email": body["email"], "password": PASSWORD}).status_code == 401
    assert api.call("POST", SIGN_UP, json=body).status_code == 200


@pytest.mark.parametrize("change", [str, str.upper, str.title])
def test_email_is_taken_in_any_case(api: Api, change: Any) -> None:
    """A second company cannot use the address of the first, in any letter case."""
    email = api.sign_up_company().body["email"]
    assert _status(api, email=change(email)) == 409


def test_taken_email_leaves_the_first_account_unchanged(api: Api) -> None:
    """A sign-up with a taken address changes neither the password nor the token of the account."""
    company = api.sign_up_company()
    assert _status(api, email=company.body["email"], password="0therPass!") == 409
    assert company.get("/business/promo").status_code == 200
    assert api.call("POST", SIGN_IN, json={"email": company.body["email"], "password": "0therPass!"}).status_code == 401


def test_company_and_user_with_the_same_email(api: Api) -> None:
    """A company and a user can have the same address, with separate passwords and tokens."""
    company = api.sign_up_company()
    user = api.sign_up_user(email=company.body["email"], password="0therPass!")
    assert api.call("POST", SIGN_IN, json={"email": user.body["email"], "password": "0therPass!"}).status_code == 401
    assert api.call("POST", SIGN_IN, json={"email": user.body["email"], "password": PASSWORD}).status_code == 200
    assert user.get("/user/profile").status_code == 200
    assert company.get("/business/promo").status_code == 401


def test_sign_in_revokes_earlier_tokens(api: Api) -> None:
    """Each sign-in returns a valid token and revokes all earlier ones, including that of the sign-up."""
    company = api.sign_up_company()
    tokens = [company.token]
    for _ in range(2):
        response = api.call("POST", SIGN_IN, json={"email": company.body["email"], "password": PASSWORD})
        tokens.append(response.json()["token"])
    statuses = [api.call("GET", "/business/promo", token=token).status_code for token in tokens]
    assert statuses == [401, 401, 200]


def test_sign_out_revokes_every_token(api: Api) -> None:
    """A sign-out revokes the token until the next sign-in. A user with the same address stays signed in."""
    company = api.sign_up_company()
    user = api.sign_up_user(email=company.body["email"])
    response = company.post("/business/auth/sign-out")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert company.get("/business/promo").status_code == company.post("/business/auth/sign-out").status_code == 401
    credentials = {"email": company.body["email"], "password": PASSWORD}
    token = api.call("POST", SIGN_IN, json=credentials).json()["token"]
    assert api.call("GET", "/business/promo", token=token).status_code == 200
    assert user.get("/user/profile").status_code == 200


def test_sign_in_in_any_case(api: Api) -> None:
    """A sign-in ignores the letter case of the address, but not that of the password."""
    email = api.sign_up_company().body["email"].upper()
    assert api.call("POST", SIGN_IN, json={"email": email, "password": PASSWORD}).status_code == 200
    assert api.call("POST", SIGN_IN, json={"email": email, "password": "pASSW0RD!"}).status_code == 401


def test_failed_sign_in_revokes_no_token(api: Api) -> None:
    """A sign-in with a wrong password leaves the tokens valid."""
    company = api.sign_up_company()
    response = api.call("POST", SIGN_IN, json={"email": company.body["email"], "password": "Wr0ngPass!"})
    assert response.status_code == 401
    assert company.get("/business/promo").status_code == 200


def test_failed_sign_ins_have_the_same_response(api: Api) -> None:
    """A wrong password, an unknown address and the address of a user get the same response."""
    known, user = api.sign_up_company().body["email"], api.sign_up_user().body["email"]
    responses = [
        api.call("POST", SIGN_IN, json={"email": known, "password": "Wr0ngPass!"}),
        api.call("POST", SIGN_IN, json={"email": new_email(), "password": PASSWORD}),
        api.call("POST", SIGN_IN, json={"email": user, "password": PASSWORD}),
    ]
    assert [response.status_code for response in responses] == [401, 401, 401]
    assert len({response.text for response in responses}) == 1
    assert {response.headers["www-authenticate"] for response in responses} == {"Bearer"}


def test_password_is_stored_as_a_salted_hash(api: Api, runtime: Runtime) -> None:
    """Two companies with the same password have different argon2id hashes. No column contains the password."""
    emails = [api.sign_up_company().body["email"] for _ in range(2)]
    with runtime.database.engine.connect() as connection:
        query = text("SELECT * FROM companies WHERE email = ANY(:emails)")
        rows = connection.execute(query, {"emails": emails}).all()
    hashes = {row.password_hash for row in rows}
    assert len(hashes) == 2
    assert all(password_hash.startswith("$argon2id$") for password_hash in hashes)
    assert not any(PASSWORD in str(value) for row in rows for value in row)
