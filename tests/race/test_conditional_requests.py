"""Concurrent changes with the same entity tag: exactly one succeeds, and no change is lost."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from persistence.schema.tables import comments, promo_counters, users
from promo_api.runtime import Runtime
from tests.accounts import PASSWORD, Account, Api
from tests.race.interleaving import Stage, together

_TEXT = {"text": "The coffee was good"}


def _comment(user: Account, promo_id: str) -> str:
    path = f"/user/promo/{promo_id}/comments"
    return f"{path}/{user.post(path, json=_TEXT).json()['id']}"


def _user_id(runtime: Runtime, user: Account) -> UUID:
    with runtime.database.autocommit() as connection:
        found = connection.execute(select(users.c.id).where(users.c.email_key == user.email)).scalar_one()
    return UUID(str(found))


def _changes(api: Api) -> dict[str, tuple[Account, str, str, Callable[[int], dict[str, Any]]]]:
    """Return an account, a method, a path and a function that makes different bodies, for each kind of resource."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo()
    return {
        "promo": (company, "PATCH", f"/business/promo/{promo_id}", lambda n: {"description": f"Promo number {n}"}),
        "profile": (user, "PATCH", "/user/profile", lambda n: {"surname": f"Number {n}"}),
        "comment": (user, "PUT", _comment(user, promo_id), lambda n: {"text": f"Comment number {n}"}),
    }


@pytest.mark.parametrize("kind", ["promo", "profile", "comment"])
def test_one_of_many_wins(api: Api, kind: str) -> None:
    """Of many different changes with one tag, one succeeds and the others get 412, round after round."""
    account, method, path, body = _changes(api)[kind]
    change = partial(api.call, method, path, token=account.token)
    for turn in range(5):
        tag = {"If-Match": account.get(path).headers["etag"]}
        jobs = [partial(change, json=body(turn * 100 + n), headers=tag) for n in range(8)]
        responses = together(jobs)
        assert sorted(response.status_code for response in responses) == [200] + [412] * 7
        (winner,) = [response for response in responses if response.status_code == 200]
        assert account.get(path).json() == winner.json()
        assert account.get(path).headers["etag"] == winner.headers["etag"]


def test_promo_changes_that_wait(api: Api, stage: Stage) -> None:
    """Of two changes that wait for a promo with one tag, one is a 412. Changes of counters do not matter."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo()
    path = f"/business/promo/{promo_id}"
    tag = {"If-Match": company.get(path).headers["etag"]}
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(
            partial(user.post, f"/user/promo/{promo_id}/activate"),
            partial(company.patch, path, json={"max_count": 7}, headers=tag),
            partial(company.patch, path, json={"max_count": 8}, headers=tag),
        )
    activation, *changes = queue.results()
    assert activation.status_code == 200
    # PostgreSQL does not promise who of them is next.
    assert sorted(response.status_code for response in changes) == [200, 412]
    [winner] = [response for response in changes if response.status_code == 200]
    promo = company.get(path).json()
    assert (promo["max_count"], promo["used_count"]) == (winner.json()["max_count"], 1)


def test_change_without_a_condition_that_waits(api: Api, stage: Stage) -> None:
    """A change without a tag that waits for a promo succeeds, although the promo is changed meanwhile."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo()
    path = f"/business/promo/{promo_id}"
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(
            partial(user.post, f"/user/promo/{promo_id}/activate"),
            partial(company.patch, path, json={"max_count": 7}),
            partial(company.patch, path, json={"description": "Without a condition"}),
        )
    assert [response.status_code for response in queue.results()] == [200, 200, 200]
    promo = company.get(path).json()
    assert (promo["max_count"], promo["used_count"], promo["description"]) == (7, 1, "Without a condition")


def test_profile_changes_that_wait(api: Api, runtime: Runtime, stage: Stage) -> None:
    """Of changes that wait for the profile with one tag, one succeeds, also against a change without a condition."""
    user = api.sign_up_user()
    tag = {"If-Match": user.get("/user/profile").headers["etag"]}
    with stage.lock_row(users, id=_user_id(runtime, user)) as (_, queue):
        queue.add(
            partial(user.patch, "/user/profile", json={"name": "First"}, headers=tag),
            partial(user.patch, "/user/profile", json={"name": "Second"}, headers=tag),
            partial(user.patch, "/user/profile", json={"password": "An0ther&Password"}, headers=tag),
            partial(user.patch, "/user/profile", json={"surname": "Third"}),
        )
    assert [response.status_code for response in queue.results()] == [200, 412, 412, 200]
    profile = user.get("/user/profile").json()
    assert (profile["name"], profile["surname"]) == ("First", "Third")
    sign_in = {"email": user.email, "password": PASSWORD}
    assert api.call("POST", "/user/auth/sign-in", json=sign_in).status_code == 200


def test_deletion_of_a_changed_account(api: Api, runtime: Runtime, stage: Stage) -> None:
    """A deletion that waits for a change of the profile is a 412, and deletes nothing."""
    user = api.sign_up_user()
    tag = {"If-Match": user.get("/user/profile").headers["etag"]}
    with stage.lock_row(users, id=_user_id(runtime, user)) as (_, queue):
        queue.add(
            partial(user.patch, "/user/profile", json={"name": "First"}),
            partial(user.delete, "/user/profile", json={"password": PASSWORD}, headers=tag),
        )
    assert [response.status_code for response in queue.results()] == [200, 412]
    tag = {"If-Match": user.get("/user/profile").headers["etag"]}
    assert user.delete("/user/profile", json={"password": PASSWORD}, headers=tag).status_code == 200
    assert user.get("/user/profile").status_code == 401


def test_change_of_a_deleted_account(api: Api, runtime: Runtime, stage: Stage) -> None:
    """A change with a tag that waits for the deletion of the account is a 401."""
    user = api.sign_up_user()
    tag = {"If-Match": user.get("/user/profile").headers["etag"]}
    with stage.lock_row(users, id=_user_id(runtime, user)) as (_, queue):
        queue.add(
            partial(user.delete, "/user/profile", json={"password": PASSWORD}, headers=tag),
            partial(user.patch, "/user/profile", json={"name": "First"}, headers=tag),
        )
    assert [response.status_code for response in queue.results()] == [200, 401]


@pytest.mark.parametrize("first", ["put", "delete"])
def test_comment_changes_that_wait(api: Api, stage: Stage, first: str) -> None:
    """Of a change and a deletion that wait for a comment with one tag, the first succeeds."""
    promo_id = api.sign_up_company().create_promo()
    user = api.sign_up_user()
    path = _comment(user, promo_id)
    tag = {"If-Match": user.get(path).headers["etag"]}
    jobs = [
        partial(user.put, path, json={"text": "It was cold after all"}, headers=tag),
        partial(user.delete, path, headers=tag),
    ]
    with stage.lock_row(comments, id=UUID(path.rpartition("/")[2])) as (_, queue):
        queue.add(*(jobs if first == "put" else reversed(jobs)))
    statuses = [response.status_code for response in queue.results()]
    assert statuses == ([200, 412] if first == "put" else [200, 404])
    assert user.get(path).status_code == (200 if first == "put" else 404)
