"""Accounts: one for each address, and one token that counts."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from persistence.tables import users
from persistence.users import update_user
from promo_api.passwords import Passwords
from promo_api.runtime import Runtime
from promo_api.tokens import Claims
from tests.accounts import Account, Api, company_body, user_body
from tests.race.interleaving import Stage, together

_NEW_PASSWORD = "An0ther!pass"


def _sign_in(account: Account, kind: str = "user") -> Callable[[], Any]:
    body = {"email": account.body["email"], "password": account.body["password"]}
    return partial(account.api.call, "POST", f"/{kind}/auth/sign-in", json=body)


def _id(crowd: Runtime, user: Account) -> UUID:
    claims = crowd.tokens.read(user.token, "user")
    assert claims is not None
    return claims.account_id


@pytest.mark.parametrize(("kind", "body"), [("user", user_body()), ("company", company_body())])
def test_address_is_taken_once(api: Api, kind: str, body: dict[str, Any]) -> None:
    """Of sign-ups with one address in different case at once, one gets the account, and all others 409."""
    path = f"/{'business' if kind == 'company' else 'user'}/auth/sign-up"
    letters = len(body["email"])
    cases = [body["email"][:length].upper() + body["email"][length:] for length in range(letters)][:16]
    answers = together([partial(api.call, "POST", path, json=body | {"email": email}) for email in cases])
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 15}


@pytest.mark.parametrize(
    ("kind", "path"), [("user", "/user/profile"), ("business", "/business/promo")], ids=["user", "company"]
)
def test_one_token_counts_after_sign_ins_at_once(api: Api, kind: str, path: str) -> None:
    """Each of many sign-ins at once gets a token, and one of these is valid afterwards; the earlier one is not."""
    account = api.sign_up_user() if kind == "user" else api.sign_up_company()
    answers = together([_sign_in(account, kind)] * 16)
    assert {answer.status_code for answer in answers} == {200}
    tokens = [answer.json()["token"] for answer in answers]
    seen = Counter(api.call("GET", path, token=token).status_code for token in tokens)
    assert seen == {200: 1, 401: 15}
    assert account.get(path).status_code == 401


@pytest.mark.parametrize("kind", ["user", "business"])
def test_sign_out_and_sign_in_at_once(api: Api, kind: str) -> None:
    """Of sign-outs and sign-ins at once none fails, and the token that the last sign-in gave is left."""
    account = api.sign_up_user() if kind == "user" else api.sign_up_company()
    path = "/user/profile" if kind == "user" else "/business/promo"
    answers = together([_sign_in(account, kind), partial(account.post, f"/{kind}/auth/sign-out")] * 8)
    assert {answer.status_code for answer in answers[::2]} == {200}
    assert {answer.status_code for answer in answers[1::2]} <= {200, 401}
    seen = Counter(api.call("GET", path, token=answer.json()["token"]).status_code for answer in answers[::2])
    assert seen == {200: 1, 401: 7}, "a sign-out of the first token ends no token that was given after it"
    assert account.get(path).status_code == 401


def test_sign_out_that_comes_after_a_sign_in(api: Api, crowd: Runtime, stage: Stage) -> None:
    """A sign-out that was let in, and waits while a sign-in ends its token, does not end the new one."""
    user = api.sign_up_user()
    with stage.holding(users, id=_id(crowd, user)) as (holder, queue):
        queue.add(partial(user.post, "/user/auth/sign-out"))
        holder.execute(update(users).where(users.c.id == _id(crowd, user)).values(token_version=7))
    assert [answer.status_code for answer in queue.results()] == [200]
    token = crowd.tokens.issue(Claims(_id(crowd, user), "user", 7))
    assert api.call("GET", "/user/profile", token=token).status_code == 200


def test_password_changed_between_check_and_token(api: Api, crowd: Runtime, stage: Stage) -> None:
    """A sign-in whose password was right when it was checked, and has been changed since, is refused."""
    user = api.sign_up_user()
    new_hash = crowd.passwords.hash(_NEW_PASSWORD)
    with stage.holding(users, id=_id(crowd, user)) as (holder, queue):
        queue.add(_sign_in(user))
        assert update_user(holder, _id(crowd, user), {"password_hash": new_hash}) is not None
    assert [answer.status_code for answer in queue.results()] == [401]
    assert user.get("/user/profile").status_code == 200, "the refused sign-in must not end the token that counts"
    assert _sign_in(replace(user, body=user.body | {"password": _NEW_PASSWORD}))().status_code == 200


def test_sign_ins_that_renew_the_hash(api: Api, crowd: Runtime, stage: Stage) -> None:
    """Sign-ins with the right password at once are all let in, also when the hash is of a cost that is not today's."""
    user = api.sign_up_user()
    dearer = Passwords(replace(crowd.settings, argon2_iterations=crowd.settings.argon2_iterations + 1))
    old_hash = dearer.hash(user.body["password"])
    with crowd.database.autocommit() as connection:
        connection.execute(update(users).where(users.c.id == _id(crowd, user)).values(password_hash=old_hash))
    with stage.holding(users, id=_id(crowd, user)) as (_, queue):
        queue.add(*[_sign_in(user)] * 3)
    assert [answer.status_code for answer in queue.results()] == [200] * 3


def test_profile_changes_at_once(api: Api) -> None:
    """Changes of different members of a profile at once are all kept."""
    user = api.sign_up_user()
    changes = [{"name": "Beth"}, {"surname": "Moore"}, {"avatar_url": "https://example.com/b.png"}] * 4
    answers = together([partial(user.patch, "/user/profile", json=change) for change in changes])
    assert {answer.status_code for answer in answers} == {200}
    profile = user.get("/user/profile").json()
    assert [profile[name] for name in ("name", "surname", "avatar_url")] == [
        "Beth",
        "Moore",
        "https://example.com/b.png",
    ]
