"""Errors never echo input, because it may be a password."""

import json
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.accounts import PASSWORD, Api, company_body, promo_body, user_body
from tests.cases import all_cases

MARK = "Zq7Marker"
NO_ID = "0b6f2d9e-3c1a-4f57-8e0d-2a9b7c4d1e63"
LONG = MARK * 200
SIGN_IN = {"email": "ann@example.com", "password": PASSWORD}

BODIES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/business/auth/sign-up", company_body() | {"name": LONG}),
    ("POST", "/business/auth/sign-up", company_body() | {"email": MARK}),
    ("POST", "/business/auth/sign-up", company_body() | {"password": MARK}),
    ("POST", "/business/auth/sign-up", company_body() | {"password": {"old": MARK, MARK: 1}}),
    ("POST", "/business/auth/sign-in", {"email": MARK, "password": f"#{MARK}1"}),
    ("POST", "/user/auth/sign-in", {"email": "ann@example.com", "password": [MARK]}),
    ("POST", "/user/auth/sign-up", user_body() | {"name": [MARK], "surname": LONG, "avatar_url": f"ftp://{MARK}"}),
    ("POST", "/user/auth/sign-up", user_body() | {"other": {"age": MARK, "country": MARK}}),
    ("POST", "/user/auth/sign-up", user_body() | {"other": MARK, "no_such": MARK}),
    ("PATCH", "/user/profile", {"name": LONG, "password": MARK, "avatar_url": MARK}),
    ("PATCH", "/user/profile", {"email": MARK}),
    ("DELETE", "/user/profile", {"password": [MARK]}),
    ("POST", "/business/promo", promo_body(mode=MARK)),
    ("POST", "/business/promo", promo_body(promo_common=LONG, description=LONG, image_url=MARK, max_count=MARK)),
    ("POST", "/business/promo", promo_body(promo_unique=[LONG, MARK, 5], active_from=MARK, active_until=MARK)),
    ("POST", "/business/promo", promo_body(target={"country": MARK, "categories": [LONG], "age_from": MARK})),
    ("POST", f"/user/promo/{NO_ID}/comments", {"text": LONG}),
    ("PUT", f"/user/promo/{NO_ID}/comments/{NO_ID}", {"text": LONG, "date": MARK}),
]
QUERIES = [
    f"/user/feed?limit={MARK}",
    f"/user/feed?offset={MARK}&active={MARK}",
    f"/user/feed?category={LONG}",
    f"/user/feed?no_such={MARK}",
    f"/user/promo/{MARK}",
    f"/user/promo/{MARK}/comments/{MARK}",
    f"/user/promo/{NO_ID}?x={MARK}",
    f"/business/promo?country={MARK}",
    f"/business/promo?sort_by={MARK}&country=ru,{MARK}",
    f"/business/promo/{MARK}/stat",
    f"/business/promo/{MARK}/changes",
    f"/business/promo/{NO_ID}/changes?limit={MARK}",
]
MALFORMED = [
    f'{{"password": "{MARK}"',
    f"{MARK}",
    f'{{"password": "{MARK}\\x"}}',
    f'{{"{MARK}": "{MARK}" 5}}',
    f'{{"{MARK}": 1, "{MARK}": "{MARK}"}}',
    f'{{"{MARK}": 1e999}}',
    f"\ufeff{MARK}",
]


def _token(api: Api, path: str) -> str:
    account = api.sign_up_company() if path.startswith("/business") else api.sign_up_user()
    return account.token


def _check_no_echo(response: Any, status: int) -> None:
    assert response.status_code == status, response.text
    assert MARK.lower() not in response.text.lower()
    assert not any(MARK.lower() in value.lower() for value in response.headers.values())


@all_cases(("method", "path", "body"), BODIES)
def test_values_of_a_body(api: Api, method: str, path: str, body: dict[str, Any]) -> None:
    """An error does not echo a value of the body, of any type."""
    _check_no_echo(api.call(method, path, token=_token(api, path), json=body), 400)


@all_cases("path", QUERIES)
def test_values_of_path_and_query(api: Api, path: str) -> None:
    """An error does not echo a value of the path or the query."""
    _check_no_echo(api.call("GET", path, token=_token(api, path)), 400)


@pytest.mark.parametrize("content", MALFORMED)
def test_malformed_json(api: Api, content: str) -> None:
    """An error about malformed JSON does not echo any part of the body."""
    _check_no_echo(api.call("POST", "/business/auth/sign-in", content=content.encode()), 400)


@pytest.mark.parametrize("kind", ["business", "user"])
def test_failed_sign_in_and_taken_email(api: Api, kind: str) -> None:
    """A failed sign-in and a taken e-mail address echo neither address nor password."""
    email, password = f"{MARK}.{uuid4().hex}@example.com", f"{MARK}1!"
    body = (company_body() if kind == "business" else user_body()) | {"email": email, "password": password}
    assert api.call("POST", f"/{kind}/auth/sign-up", json=body).status_code == 200
    _check_no_echo(api.call("POST", f"/{kind}/auth/sign-up", json=body), 409)
    unknown = f"{MARK}.{uuid4().hex}@example.com"
    for credentials in ({"email": email, "password": PASSWORD}, {"email": unknown, "password": password}):
        _check_no_echo(api.call("POST", f"/{kind}/auth/sign-in", json=credentials), 401)


def test_tokens_types_paths_and_methods(api: Api) -> None:
    """An error does not echo a token, a media type or an unknown path."""
    _check_no_echo(api.call("GET", "/user/profile", token=MARK), 401)
    _check_no_echo(api.call("GET", "/user/profile", headers={"Authorization": f"{MARK} {MARK}"}), 401)
    types = {"Content-Type": f"application/{MARK}"}
    _check_no_echo(api.call("POST", "/user/auth/sign-in", content=b"{}", headers=types), 415)
    _check_no_echo(api.call("GET", f"/{MARK}"), 404)
    _check_no_echo(api.call("PUT", f"/user/promo/{MARK}/like"), 405)


SECRET_NAMES = {
    "password": "Zq!marker-P4ss",
    "token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI5In0.c2lnbmF0dXJl",
    "code": "CUP-8K2D",
    "idempotency key": "7c9e6679-7425-40de-944b-e07fc1f90ae7",
    "e-mail address": "ann@example.com",
    "telephone number": "+79001234567",
    "hash": "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "long word": "x" * 41,
    "text": "My secret",
    "text of another script": "пароль",
    "line": f"{MARK}\n",
    "control character": "Secret\x00",
}


@all_cases("name", SECRET_NAMES.values())
def test_secrets_as_names(api: Api, name: str) -> None:
    """An error does not echo the name of an unknown member or parameter that may be a secret."""
    other = user_body()["other"]
    repeated = f'{{{json.dumps(name)}: 1, {json.dumps(name)}: {{"a": 1, "a": 2}}}}'
    responses = [
        (api.call("POST", "/user/auth/sign-up", json=user_body() | {name: 1}), ""),
        (api.call("POST", "/user/auth/sign-up", json=user_body() | {"other": other | {name: {name: 1}}}), "/other"),
        (api.call("POST", "/user/auth/sign-up", content=repeated.encode()), ""),
        (api.call("GET", "/ping", params={name: "1"}), ""),
        (api.call("GET", f"/ping?{quote(name)}=%zz"), ""),
        (api.call("GET", f"/ping?{quote(name)}=1&{quote(name)}=2"), ""),
    ]
    for response, pointer in responses:
        assert response.status_code == 400
        assert name not in str(response.json())
        assert [detail["pointer"] for detail in response.json()["details"]] == [pointer]


def test_words_as_names(api: Api) -> None:
    """The pointer names an unknown member or parameter that looks like a name, and the message has the allowed ones."""
    (detail,) = api.call("GET", "/ping", params={"no_such": "1"}).json()["details"]
    assert detail == {"in": "query", "pointer": "/no_such", "message": "is not allowed"}
    (detail,) = api.call("POST", "/user/auth/sign-in", json=SIGN_IN | {"userName": 1}).json()["details"]
    assert detail == {"in": "body", "pointer": "/userName", "message": "is not allowed; allowed are email, password"}


def test_stored_values_are_not_echoed(api: Api) -> None:
    """An error that depends on stored data shows neither the stored nor the sent values."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo(promo_common=MARK, description=LONG[:300], max_count=1)
    user.post(f"/user/promo/{promo_id}/activate")
    comment_id = user.post(f"/user/promo/{promo_id}/comments", json={"text": LONG[:100]}).json()["id"]
    _check_no_echo(company.patch(f"/business/promo/{promo_id}", json={"max_count": 0, "description": LONG[:200]}), 400)
    _check_no_echo(api.sign_up_company().get(f"/business/promo/{promo_id}"), 403)
    _check_no_echo(user.post(f"/user/promo/{promo_id}/activate"), 403)
    path = f"/user/promo/{promo_id}/comments/{comment_id}"
    _check_no_echo(api.sign_up_user().put(path, json={"text": LONG[:200]}), 403)
