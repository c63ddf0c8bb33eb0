"""An error never repeats a value that was sent, since it may be a password."""

from typing import Any
from uuid import uuid4

import pytest

from tests.accounts import PASSWORD, Api, company_body, promo_body, user_body
from tests.cases import all_cases

MARK = "Zq7Marker"
NO_ID = "0b6f2d9e-3c1a-4f57-8e0d-2a9b7c4d1e63"
LONG = MARK * 200

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
    ("DELETE", "/user/profile", {"password": MARK}),
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
BROKEN = [f'{{"password": "{MARK}"', f"{MARK}", f'{{"password": "{MARK}\\x"}}', f'{{"{MARK}": "{MARK}" 5}}']


def _token(api: Api, path: str) -> str:
    account = api.sign_up_company() if path.startswith("/business") else api.sign_up_user()
    return account.token


def _silent(answer: Any, status: int) -> None:
    assert answer.status_code == status, answer.text
    assert MARK.lower() not in answer.text.lower()
    assert not any(MARK.lower() in value.lower() for value in answer.headers.values())


@all_cases(("method", "path", "body"), BODIES)
def test_values_of_a_body(api: Api, method: str, path: str, body: dict[str, Any]) -> None:
    """No value of a body is repeated, of whatever type it is and whatever is wrong with it."""
    _silent(api.call(method, path, token=_token(api, path), json=body), 400)


@all_cases("path", QUERIES)
def test_values_of_path_and_query(api: Api, path: str) -> None:
    """No value of a path or a query is repeated."""
    _silent(api.call("GET", path, token=_token(api, path)), 400)


@pytest.mark.parametrize("content", BROKEN)
def test_broken_bodies(api: Api, content: str) -> None:
    """Of a body that is no JSON no piece is repeated."""
    _silent(api.call("POST", "/business/auth/sign-in", content=content.encode()), 400)


@pytest.mark.parametrize("kind", ["business", "user"])
def test_failed_sign_in_and_taken_email(api: Api, kind: str) -> None:
    """Neither a failed sign-in nor a taken address repeats address or password."""
    email, password = f"{MARK}.{uuid4().hex}@example.com", f"{MARK}1!"
    body = (company_body() if kind == "business" else user_body()) | {"email": email, "password": password}
    assert api.call("POST", f"/{kind}/auth/sign-up", json=body).status_code == 200
    _silent(api.call("POST", f"/{kind}/auth/sign-up", json=body), 409)
    unknown = f"{MARK}.{uuid4().hex}@example.com"
    for credentials in ({"email": email, "password": PASSWORD}, {"email": unknown, "password": password}):
        _silent(api.call("POST", f"/{kind}/auth/sign-in", json=credentials), 401)


def test_tokens_types_paths_and_methods(api: Api) -> None:
    """Neither a token nor a media type nor an unknown path is repeated."""
    _silent(api.call("GET", "/user/profile", token=MARK), 401)
    _silent(api.call("GET", "/user/profile", headers={"Authorization": f"{MARK} {MARK}"}), 401)
    types = {"Content-Type": f"application/{MARK}"}
    _silent(api.call("POST", "/user/auth/sign-in", content=b"{}", headers=types), 415)
    _silent(api.call("GET", f"/{MARK}"), 404)
    _silent(api.call("PUT", f"/user/promo/{MARK}/like"), 405)


@pytest.mark.parametrize("name", [f"{MARK}{'x' * 60}", f"{MARK}\n", f"{MARK}\x00"])
def test_names_that_are_no_names(api: Api, name: str) -> None:
    """A name that is none, by its length or its characters, is not repeated in a pointer, in body or query."""
    answer = api.call("POST", "/user/auth/sign-up", json=user_body() | {name: 1})
    _silent(answer, 400)
    assert [detail["pointer"] for detail in answer.json()["details"]] == [""]
    _silent(api.call("GET", "/ping", params={name: "1"}), 400)


def test_what_is_stored_stays_out_too(api: Api) -> None:
    """A refusal that depends on what is stored shows nothing of it, nor of what was sent."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo(promo_common=MARK, description=LONG[:300], max_count=1)
    user.post(f"/user/promo/{promo_id}/activate")
    comment_id = user.post(f"/user/promo/{promo_id}/comments", json={"text": LONG[:100]}).json()["id"]
    _silent(company.patch(f"/business/promo/{promo_id}", json={"max_count": 0, "description": LONG[:200]}), 400)
    _silent(api.sign_up_company().get(f"/business/promo/{promo_id}"), 403)
    _silent(user.post(f"/user/promo/{promo_id}/activate"), 403)
    path = f"/user/promo/{promo_id}/comments/{comment_id}"
    _silent(api.sign_up_user().put(path, json={"text": LONG[:200]}), 403)
