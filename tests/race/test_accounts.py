"""Concurrent sign-ups, sign-ins, sign-outs and profile changes: one account per e-mail address, one valid token."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from persistence.accounts.users import update_user
from persistence.schema.tables import users
from promo_api.runtime import Runtime
from promo_api.security.passwords import Passwords
from promo_api.security.tokens import Claims
from tests.accounts import Account, Api, company_body, user_body
from tests.race.interleaving import Stage, together

_NEW_PASSWORD = "An0ther!pass"


def _sign_in(account: Account, kind: str = "user") -> Callable[[], Any]:
    body = {"email": account.body["email"], "password": account.body["password"]}
    return partial(account.api.call, "POST", f"/{kind}/auth/sign-in", json=body)


def _id(runtime: Runtime, user: Account) -> UUID:
    claims = runtime.tokens.read(user.token, "user")
    return claims.account_id


@pytest.mark.parametrize(("kind", "body"), [("user", user_body()), ("company", company_body())])
def test_email_is_unique(api: Api, kind: str, body: dict[str, Any]) -> None:
    """Of concurrent sign-ups with one e-mail address in different case, one succeeds, and all others get 409."""
    path = f"/{'business' if kind == 'company' else 'user'}/auth/sign-up"
    letters = len(body["email"])
    cases = [body["email"][:length].upper() + body["email"][length:] for length in range(letters)][:16]
    responses = together([partial(api.call, "POST", path, json=body | {"email": email}) for email in cases])
    assert Counter(response.status_code for response in responses) == {200: 1, 409: 15}


@pytest.mark.parametrize(
    ("kind", "path"), [("user", "/user/profile"), ("business", "/business/promo")], ids=["user", "company"]
)
def test_one_token_is_valid_after_concurrent_sign_ins(api: Api, kind: str, path: str) -> None:
    """Each of many concurrent sign-ins gets a token. One of them is valid afterwards; the earlier token is not."""
    account = api.sign_up_user() if kind == "user" else api.sign_up_company()
    responses = together([_sign_in(account, kind)] * 16)
    assert {response.status_code for response in responses} == {200}
    tokens = [response.json()["token"] for response in responses]
    statuses = Counter(api.call("GET", path, token=token).status_code for token in tokens)
    assert statuses == {200: 1, 401: 15}
    assert account.get(path).status_code == 401


@pytest.mark.parametrize("kind", ["user", "business"])
def test_concurrent_sign_outs_and_sign_ins(api: Api, kind: str) -> None:
    """No concurrent sign-out or sign-in fails, and the token of the last sign-in is valid."""
    account = api.sign_up_user() if kind == "user" else api.sign_up_company()
    path = "/user/profile" if kind == "user" else "/business/promo"
    responses = together([_sign_in(account, kind), partial(account.post, f"/{kind}/auth/sign-out")] * 8)
    assert {response.status_code for response in responses[::2]} == {200}
    assert {response.status_code for response in responses[1::2]} <= {200, 401}
    statuses = Counter(api.call("GET", path, token=response.json()["token"]).status_code for response in responses[::2])
    assert statuses == {200: 1, 401: 7}, "a sign-out with the first token must not revoke a later token"
    assert account.get(path).status_code == 401


def test_sign_out_after_a_sign_in(api: Api, runtime: Runtime, stage: Stage) -> None:
    """A sign-out that passed authentication before a sign-in does not revoke the token of that sign-in."""
    user = api.sign_up_user()
    with stage.lock_row(users, id=_id(runtime, user)) as (holder, queue):
        queue.add(partial(user.post, "/user/auth/sign-out"))
        holder.execute(update(users).where(users.c.id == _id(runtime, user)).values(token_version=7))
    assert [response.status_code for response in queue.results()] == [200]
    token = runtime.tokens.issue(Claims(_id(runtime, user), "user", 7))
    assert api.call("GET", "/user/profile", token=token).status_code == 200


def test_password_changed_between_check_and_token(api: Api, runtime: Runtime, stage: Stage) -> None:
    """A sign-in is refused if the password changes between its check and the new token."""
    user = api.sign_up_user()
    new_hash = runtime.passwords.hash(_NEW_PASSWORD)
    with stage.lock_row(users, id=_id(runtime, user)) as (holder, queue):
        queue.add(_sign_in(user))
        assert update_user(holder, _id(runtime, user), {"password_hash": new_hash}, token_version=1) is not None
    assert [response.status_code for response in queue.results()] == [401]
    assert user.get("/user/profile").status_code == 200, "the refused sign-in must not revoke the valid token"
    assert _sign_in(replace(user, body=user.body | {"password": _NEW_PASSWORD}))().status_code == 200


def test_concurrent_sign_ins_that_rehash(api: Api, runtime: Runtime, stage: Stage) -> None:
    """Concurrent sign-ins with the correct password all succeed, even if each rehashes it with the current cost."""
    user = api.sign_up_user()
    expensive = Passwords(replace(runtime.settings, argon2_iterations=runtime.settings.argon2_iterations + 1))
    old_hash = expensive.hash(user.body["password"])
    with runtime.database.autocommit() as connection:
        connection.execute(update(users).where(users.c.id == _id(runtime, user)).values(password_hash=old_hash))
    with stage.lock_row(users, id=_id(runtime, user)) as (_, queue):
        queue.add(*[_sign_in(user)] * 3)
    assert [response.status_code for response in queue.results()] == [200] * 3


def test_concurrent_profile_changes(api: Api) -> None:
    """Concurrent changes of different members of a profile are all stored."""
    user = api.sign_up_user()
    changes = [{"name": "Beth"}, {"surname": "Moore"}, {"avatar_url": "https://example.com/b.png"}] * 4
    responses = together([partial(user.patch, "/user/profile", json=change) for change in changes])
    assert {response.status_code for response in responses} == {200}
    profile = user.get("/user/profile").json()
    assert [profile[name] for name in ("name", "surname", "avatar_url")] == [
        "Beth",
        "Moore",
        "https://example.com/b.png",
    ]
