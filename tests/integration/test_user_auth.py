"""Sign-up and sign-in of users."""

from typing import Any

import pytest
from sqlalchemy import text

from promo_api.runtime import Runtime
from tests.accounts import PASSWORD, Api, new_email, user_body
from tests.cases import all_cases

SIGN_UP = "/user/auth/sign-up"
SIGN_IN = "/user/auth/sign-in"

VALID_URLS = [
    "http://a",
    "https://example.com",
    "HTTPS://Example.COM/a/b.png?size=1&x=%20#top",
    "http://127.0.0.1:8080/x",
    "https://example.com/" + "p" * 330,
]
INVALID_URLS = [
    "",
    " ",
    "https://",
    "http:///path",
    "grpc://x",
    "ftp://example.com/x",
    "a@b",
    "example.com/x.png",
    "//example.com/x.png",
    "/x.png",
    "https:example.com",
    "javascript:alert(1)",
    "https://exam ple.com",
    "https://example.com/a b",
    "https://example.com\n",
    "https://example.com/\x00",
    "https://example.com/%zz",
    "https://example.com:port/",
    "https://example.com/" + "p" * 331,
    17,
    ["https://example.com"],
]


def _sign_up(api: Api, **changes: Any) -> Any:
    return api.call("POST", SIGN_UP, json=user_body() | changes)


def _pointers(response: Any) -> list[str]:
    assert response.status_code == 400
    return [detail["pointer"] for detail in response.json()["details"]]


def test_sign_up_creates_the_profile(api: Api) -> None:
    """The token of a sign-up opens the profile, which equals the sign-up without the password."""
    user = api.sign_up_user(avatar_url="https://example.com/a.png", age=41, country="De")
    assert user.get("/user/profile").json() == {
        "name": "Ann",
        "surname": "Lee",
        "email": user.body["email"],
        "avatar_url": "https://example.com/a.png",
        "other": {"age": 41, "country": "De"},
    }


@pytest.mark.parametrize(("member", "most"), [("name", 100), ("surname", 120)])
def test_lengths_of_names(api: Api, member: str, most: int) -> None:
    """A name has 1 to 100 characters and a surname 1 to 120."""
    for value in ("x", "ж" * most):
        assert _sign_up(api, **{member: value}).status_code == 200
    for value in ("", "ж" * (most + 1)):
        assert _pointers(_sign_up(api, **{member: value})) == [f"/{member}"]


@all_cases("member", ["name", "surname"])
@all_cases("value", [None, 5, "a\x00b", {}, True])
def test_names_are_strings(api: Api, member: str, value: object) -> None:
    """A name must be a string without control characters."""
    assert _pointers(_sign_up(api, **{member: value})) == [f"/{member}"]


@pytest.mark.parametrize("url", VALID_URLS)
def test_avatar_is_an_http_url(api: Api, url: str) -> None:
    """An absolute http or https URL of at most 350 characters is accepted, and returned as it was sent."""
    assert api.sign_up_user(avatar_url=url).get("/user/profile").json()["avatar_url"] == url


@all_cases("url", [*INVALID_URLS, None])
def test_avatar_that_is_not_an_http_url(api: Api, url: object) -> None:
    """A value that is not an http or https URL with a host is refused."""
    assert set(_pointers(_sign_up(api, avatar_url=url))) == {"/avatar_url"}


@pytest.mark.parametrize("age", [0, 1, 100])
def test_age_of_0_to_100(api: Api, age: int) -> None:
    """An age from 0 to 100 is accepted."""
    assert api.sign_up_user(age=age).get("/user/profile").json()["other"]["age"] == age


@pytest.mark.parametrize("age", [-1, 101, 10**30, 30.5, 30.0, "30", None, True, [30]])
def test_invalid_age(api: Api, age: object) -> None:
    """An age out of range, or not an integer, is refused."""
    response = _sign_up(api, other={"age": age, "country": "ru"})
    assert set(_pointers(response)) == {"/other/age"}


@pytest.mark.parametrize("country", ["ru", "RU", "Ru", "rU", "ax", "ZW"])
def test_country_in_the_case_that_was_sent(api: Api, country: str) -> None:
    """A country code is accepted in any case, and returned in that case."""
    assert api.sign_up_user(country=country).get("/user/profile").json()["other"]["country"] == country


@all_cases(
    "country",
    [
        "aa",
        "xx",
        "zz",
        "uk",
        "EU",
        "xk",
        "su",
        "r",
        "rus",
        "",
        "r1",
        "\u0440\u0443",
        "ru\n",
        " ru",
        "r\x00",
        17,
        None,
        ["ru"],
    ],
)
def test_invalid_country(api: Api, country: object) -> None:
    """A value that is not an officially assigned ISO 3166-1 alpha-2 code is refused."""
    response = _sign_up(api, other={"age": 30, "country": country})
    assert set(_pointers(response)) == {"/other/country"}


@pytest.mark.parametrize("other", [None, [], "ru", 5])
def test_other_is_an_object(api: Api, other: object) -> None:
    """`other` must be an object."""
    assert _pointers(_sign_up(api, other=other)) == ["/other"]


@pytest.mark.parametrize("member", ["age", "country"])
def test_other_needs_both_members(api: Api, member: str) -> None:
    """Age and country are required."""
    body = user_body()
    del body["other"][member]
    assert _pointers(api.call("POST", SIGN_UP, json=body)) == [f"/other/{member}"]


@pytest.mark.parametrize("member", ["name", "surname", "email", "password", "other"])
def test_sign_up_needs_every_member(api: Api, member: str) -> None:
    """All members but the avatar are required."""
    body = user_body()
    del body[member]
    assert _pointers(api.call("POST", SIGN_UP, json=body)) == [f"/{member}"]


@pytest.mark.parametrize(
    "email", ["a@b.c", "a" * 109 + "@example.com", "no-address", "ann@localhost", "ann@example.com\n"]
)
def test_invalid_email(api: Api, email: str) -> None:
    """A value that is not an e-mail address of 6 to 120 characters with a dotted domain is refused."""
    assert set(_pointers(_sign_up(api, email=email))) == {"/email"}


@pytest.mark.parametrize("email", ["u@b.co", f"{'u' * 32}@{'d' * 63}.{'d' * 19}.com"])
def test_email_of_6_to_120_characters(api: Api, email: str) -> None:
    """An address of minimum or maximum length is accepted, and returned as it was sent."""
    assert len(email) in (6, 120)
    assert api.sign_up_user(email=email).get("/user/profile").json()["email"] == email


@pytest.mark.parametrize("password", ["Passw0r!", "P" + "a" * 57 + "1$"])
def test_password_of_8_to_60_characters(api: Api, password: str) -> None:
    """A password of minimum or maximum length is accepted, and signs in."""
    email = api.sign_up_user(password=password).body["email"]
    assert api.call("POST", SIGN_IN, json={"email": email, "password": password}).status_code == 200


@pytest.mark.parametrize(
    "password", ["Passw0!", "P" + "a" * 58 + "1$", "passw0rd!", "PASSW0RD!", "Password!", "Passw0rdd", "Passw0rd!\n"]
)
def test_invalid_password(api: Api, password: str) -> None:
    """A password of another length, with a missing kind of character or with a control character is refused."""
    assert set(_pointers(_sign_up(api, password=password))) == {"/password"}


def test_refused_sign_up_stores_nothing(api: Api) -> None:
    """After a refused sign-up the e-mail address is still free."""
    body = user_body(age=101)
    assert api.call("POST", SIGN_UP, json=body).status_code == 400
    body["other"]["age"] = 100
    assert api.call("POST", SIGN_UP, json=body).status_code == 200


@pytest.mark.parametrize("change", [str, str.upper, str.title])
def test_email_is_taken_in_any_case(api: Api, change: Any) -> None:
    """A second user cannot take an address in another case; the first keeps token and profile."""
    user = api.sign_up_user()
    assert _sign_up(api, email=change(user.body["email"]), name="Eve").status_code == 409
    assert user.get("/user/profile").json()["name"] == "Ann"


def test_email_is_returned_in_the_case_that_was_sent(api: Api) -> None:
    """An e-mail address is returned in the case that was sent."""
    email = new_email().title()
    assert api.sign_up_user(email=email).get("/user/profile").json()["email"] == email


def test_sign_in_revokes_earlier_tokens(api: Api) -> None:
    """A sign-in returns a valid token, and revokes all earlier ones."""
    user = api.sign_up_user()
    credentials = {"email": user.body["email"].upper(), "password": PASSWORD}
    tokens = [user.token, *(api.call("POST", SIGN_IN, json=credentials).json()["token"] for _ in range(2))]
    assert [api.call("GET", "/user/profile", token=token).status_code for token in tokens] == [401, 401, 200]


def test_sign_in_revokes_no_token_of_others(api: Api) -> None:
    """A sign-in revokes no token of another user."""
    one, other = api.sign_up_user(), api.sign_up_user()
    api.call("POST", SIGN_IN, json={"email": one.body["email"], "password": PASSWORD})
    assert other.get("/user/profile").status_code == 200


def test_sign_out_revokes_every_token(api: Api) -> None:
    """A sign-out revokes all tokens of the user; the next token is valid, and other users keep theirs."""
    user, other = api.sign_up_user(), api.sign_up_user()
    response = user.post("/user/auth/sign-out")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert user.get("/user/profile").status_code == user.post("/user/auth/sign-out").status_code == 401
    credentials = {"email": user.body["email"], "password": PASSWORD}
    token = api.call("POST", SIGN_IN, json=credentials).json()["token"]
    assert api.call("GET", "/user/profile", token=token).status_code == 200
    assert user.get("/user/profile").status_code == 401
    assert other.get("/user/profile").status_code == 200


def test_refused_sign_in_reveals_nothing(api: Api) -> None:
    """All failed sign-ins get the same response and revoke no token."""
    user, company = api.sign_up_user(), api.sign_up_company().body["email"]
    responses = [
        api.call("POST", SIGN_IN, json={"email": user.body["email"], "password": "Wr0ngPass!"}),
        api.call("POST", SIGN_IN, json={"email": new_email(), "password": PASSWORD}),
        api.call("POST", SIGN_IN, json={"email": company, "password": PASSWORD}),
    ]
    assert [response.status_code for response in responses] == [401, 401, 401]
    assert len({response.text for response in responses}) == 1
    assert user.get("/user/profile").status_code == 200


def test_password_is_stored_as_a_hash(api: Api, runtime: Runtime) -> None:
    """A password is stored as an argon2id hash, and in no column as plain text."""
    email = api.sign_up_user().body["email"]
    with runtime.database.engine.connect() as connection:
        row = connection.execute(text("SELECT * FROM users WHERE email = :email"), {"email": email}).one()
    assert row.password_hash.startswith("$argon2id$")
    assert not any(PASSWORD in str(value) for value in row)
