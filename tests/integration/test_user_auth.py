"""Sign-up and sign-in of users."""

from typing import Any

import pytest
from sqlalchemy import text

from promo_api.runtime import Runtime
from tests.accounts import PASSWORD, Api, new_email, user_body
from tests.cases import all_cases

SIGN_UP = "/user/auth/sign-up"
SIGN_IN = "/user/auth/sign-in"

GOOD_URLS = [
    "http://a",
    "https://example.com",
    "HTTPS://Example.COM/a/b.png?size=1&x=%20#top",
    "http://127.0.0.1:8080/x",
    "https://example.com/" + "p" * 330,
]
BAD_URLS = [
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


def _pointers(answer: Any) -> list[str]:
    assert answer.status_code == 400
    return [detail["pointer"] for detail in answer.json()["details"]]


def test_sign_up_makes_the_profile(api: Api) -> None:
    """The token of a sign-up opens the profile, which is what was sent, without the password."""
    user = api.sign_up_user(avatar_url="https://example.com/a.png", age=41, country="De")
    assert user.get("/user/profile").json() == {
        "name": "Ann",
        "surname": "Lee",
        "email": user.body["email"],
        "avatar_url": "https://example.com/a.png",
        "other": {"age": 41, "country": "De"},
    }


@pytest.mark.parametrize(("member", "most"), [("name", 100), ("surname", 120)])
def test_names_from_1_character(api: Api, member: str, most: int) -> None:
    """A name has 1 to 100 characters and a surname 1 to 120; one less or more is refused."""
    for value in ("x", "ж" * most):
        assert _sign_up(api, **{member: value}).status_code == 200
    for value in ("", "ж" * (most + 1)):
        assert _pointers(_sign_up(api, **{member: value})) == [f"/{member}"]


@all_cases("member", ["name", "surname"])
@all_cases("value", [None, 5, "a\x00b", {}, True])
def test_names_are_texts(api: Api, member: str, value: object) -> None:
    """A name is a text without U+0000."""
    assert _pointers(_sign_up(api, **{member: value})) == [f"/{member}"]


@pytest.mark.parametrize("url", GOOD_URLS)
def test_avatar_is_an_http_url(api: Api, url: str) -> None:
    """An absolute http or https URL of at most 350 characters is taken and returned as it was sent."""
    assert api.sign_up_user(avatar_url=url).get("/user/profile").json()["avatar_url"] == url


@all_cases("url", [*BAD_URLS, None])
def test_avatar_that_is_no_http_url(api: Api, url: object) -> None:
    """What is no http URL with a host is refused."""
    assert set(_pointers(_sign_up(api, avatar_url=url))) == {"/avatar_url"}


@pytest.mark.parametrize("age", [0, 1, 100])
def test_age_of_0_to_100(api: Api, age: int) -> None:
    """An age is 0 to 100."""
    assert api.sign_up_user(age=age).get("/user/profile").json()["other"]["age"] == age


@pytest.mark.parametrize("age", [-1, 101, 10**30, 30.5, 30.0, "30", None, True, [30]])
def test_age_that_is_none(api: Api, age: object) -> None:
    """Any other age, and what is no integer, is refused."""
    answer = _sign_up(api, other={"age": age, "country": "ru"})
    assert set(_pointers(answer)) == {"/other/age"}


@pytest.mark.parametrize("country", ["ru", "RU", "Ru", "rU", "ax", "ZW"])
def test_country_in_the_case_that_was_sent(api: Api, country: str) -> None:
    """A country code is taken in any case, and returned in that case."""
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
def test_country_that_is_none(api: Api, country: object) -> None:
    """What is no officially assigned ISO 3166-1 alpha-2 code is refused."""
    answer = _sign_up(api, other={"age": 30, "country": country})
    assert set(_pointers(answer)) == {"/other/country"}


@pytest.mark.parametrize("other", [None, [], "ru", 5])
def test_other_is_an_object(api: Api, other: object) -> None:
    """`other` is an object."""
    assert _pointers(_sign_up(api, other=other)) == ["/other"]


@pytest.mark.parametrize("member", ["age", "country"])
def test_other_needs_both_members(api: Api, member: str) -> None:
    """Neither the age nor the country may be left out."""
    body = user_body()
    del body["other"][member]
    assert _pointers(api.call("POST", SIGN_UP, json=body)) == [f"/other/{member}"]


@pytest.mark.parametrize("member", ["name", "surname", "email", "password", "other"])
def test_sign_up_needs_every_member(api: Api, member: str) -> None:
    """Nothing but the avatar may be left out."""
    body = user_body()
    del body[member]
    assert _pointers(api.call("POST", SIGN_UP, json=body)) == [f"/{member}"]


@pytest.mark.parametrize(
    "email", ["ab@q.io", "a" * 109 + "@example.com", "no-address", "ann@localhost", "ann@example.com\n"]
)
def test_email_that_is_none(api: Api, email: str) -> None:
    """What is no e-mail address of 8 to 120 characters with a dotted domain is refused."""
    assert set(_pointers(_sign_up(api, email=email))) == {"/email"}


@pytest.mark.parametrize("email", ["abc@u.io", f"{'u' * 32}@{'d' * 63}.{'d' * 19}.com"])
def test_email_of_8_to_120_characters(api: Api, email: str) -> None:
    """An address of the least and of the greatest length is taken and returned as it was sent."""
    assert len(email) in (8, 120)
    assert api.sign_up_user(email=email).get("/user/profile").json()["email"] == email


@pytest.mark.parametrize("password", ["Passw0r!", "P" + "a" * 57 + "1$"])
def test_password_of_8_to_60_characters(api: Api, password: str) -> None:
    """A password of the least and of the greatest length is the one to sign in with."""
    email = api.sign_up_user(password=password).body["email"]
    assert api.call("POST", SIGN_IN, json={"email": email, "password": password}).status_code == 200


@pytest.mark.parametrize(
    "password", ["Passw0!", "P" + "a" * 58 + "1$", "passw0rd!", "PASSW0RD!", "Password!", "Passw0rdd", "Passw0rd#"]
)
def test_password_that_is_none(api: Api, password: str) -> None:
    """A password of another length, or one that lacks a kind of character or has another one, is refused."""
    assert set(_pointers(_sign_up(api, password=password))) == {"/password"}
    answer = api.call("POST", SIGN_IN, json={"email": new_email(), "password": password})
    assert set(_pointers(answer)) == {"/password"}


def test_refused_sign_up_stores_nothing(api: Api) -> None:
    """After a refused sign-up the address is free."""
    body = user_body(age=101)
    assert api.call("POST", SIGN_UP, json=body).status_code == 400
    body["other"]["age"] = 100
    assert api.call("POST", SIGN_UP, json=body).status_code == 200


@pytest.mark.parametrize("change", [str, str.upper, str.title])
def test_email_is_taken_in_any_case(api: Api, change: Any) -> None:
    """A second user can't have the address of the first, in whatever case, and the first keeps token and profile."""
    user = api.sign_up_user()
    assert _sign_up(api, email=change(user.body["email"]), name="Eve").status_code == 409
    assert user.get("/user/profile").json()["name"] == "Ann"


def test_email_is_returned_in_the_case_that_was_sent(api: Api) -> None:
    """An address keeps its case."""
    email = new_email().title()
    assert api.sign_up_user(email=email).get("/user/profile").json()["email"] == email


def test_sign_in_ends_earlier_tokens(api: Api) -> None:
    """Each sign-in makes a token that works, and ends all before it, the one of the sign-up too."""
    user = api.sign_up_user()
    credentials = {"email": user.body["email"].upper(), "password": PASSWORD}
    tokens = [user.token, *(api.call("POST", SIGN_IN, json=credentials).json()["token"] for _ in range(2))]
    assert [api.call("GET", "/user/profile", token=token).status_code for token in tokens] == [401, 401, 200]


def test_sign_in_ends_no_token_of_others(api: Api) -> None:
    """A sign-in of one user leaves the tokens of another alone."""
    one, other = api.sign_up_user(), api.sign_up_user()
    api.call("POST", SIGN_IN, json={"email": one.body["email"], "password": PASSWORD})
    assert other.get("/user/profile").status_code == 200


def test_sign_out_ends_every_token(api: Api) -> None:
    """A sign-out ends the token that asks, and the next sign-in gives one that works; others keep theirs."""
    user, other = api.sign_up_user(), api.sign_up_user()
    answer = user.post("/user/auth/sign-out")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert user.get("/user/profile").status_code == user.post("/user/auth/sign-out").status_code == 401
    credentials = {"email": user.body["email"], "password": PASSWORD}
    token = api.call("POST", SIGN_IN, json=credentials).json()["token"]
    assert api.call("GET", "/user/profile", token=token).status_code == 200
    assert user.get("/user/profile").status_code == 401
    assert other.get("/user/profile").status_code == 200


def test_refused_sign_in_tells_nothing(api: Api) -> None:
    """An unknown address, that of a company, and a wrong password get the same answer, and end no token."""
    user, company = api.sign_up_user(), api.sign_up_company().body["email"]
    answers = [
        api.call("POST", SIGN_IN, json={"email": user.body["email"], "password": "Wr0ngPass!"}),
        api.call("POST", SIGN_IN, json={"email": new_email(), "password": PASSWORD}),
        api.call("POST", SIGN_IN, json={"email": company, "password": PASSWORD}),
    ]
    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert len({answer.text for answer in answers}) == 1
    assert user.get("/user/profile").status_code == 200


def test_password_is_kept_as_a_hash(api: Api, runtime: Runtime) -> None:
    """A password is kept as an argon2id hash, and no column holds it in the clear."""
    email = api.sign_up_user().body["email"]
    with runtime.database.engine.connect() as connection:
        row = connection.execute(text("SELECT * FROM users WHERE email = :email"), {"email": email}).one()
    assert row.password_hash.startswith("$argon2id$")
    assert not any(PASSWORD in str(value) for value in row)
