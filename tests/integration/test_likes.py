"""Likes."""

from typing import Any
from uuid import uuid4

import pytest

from tests.accounts import Account, Api


def _like(user: Account, promo_id: str) -> int:
    response = user.post(f"/user/promo/{promo_id}/like")
    assert response.status_code != 200 or response.json() == {"status": "ok"}
    return int(response.status_code)


def _unlike(user: Account, promo_id: str) -> int:
    response = user.delete(f"/user/promo/{promo_id}/like")
    assert response.status_code != 200 or response.json() == {"status": "ok"}
    return int(response.status_code)


def _seen(user: Account, promo_id: str) -> tuple[int, bool]:
    promo = user.get(f"/user/promo/{promo_id}").json()
    return promo["like_count"], promo["is_liked_by_user"]


def test_like_and_unlike(api: Api) -> None:
    """A like is counted and shown to its user until it is removed; it can be repeated after that."""
    user, promo_id = api.sign_up_user(), api.sign_up_company().create_promo()
    assert (_like(user, promo_id), _seen(user, promo_id)) == (200, (1, True))
    assert (_unlike(user, promo_id), _seen(user, promo_id)) == (200, (0, False))
    assert (_like(user, promo_id), _seen(user, promo_id)) == (200, (1, True))


def test_second_like_changes_nothing(api: Api) -> None:
    """A second like succeeds and changes nothing; one unlike removes it."""
    user, promo_id = api.sign_up_user(), api.sign_up_company().create_promo()
    assert [_like(user, promo_id) for _ in range(3)] == [200, 200, 200]
    assert _seen(user, promo_id) == (1, True)
    assert (_unlike(user, promo_id), _seen(user, promo_id)) == (200, (0, False))


def test_second_unlike_changes_nothing(api: Api) -> None:
    """An unlike without a like succeeds and changes nothing, also not the likes of others."""
    user, other, promo_id = api.sign_up_user(), api.sign_up_user(), api.sign_up_company().create_promo()
    _like(other, promo_id)
    assert [_unlike(user, promo_id) for _ in range(2)] == [200, 200]
    assert (_seen(user, promo_id), _seen(other, promo_id)) == ((1, False), (1, True))


def test_likes_of_all_users_are_counted(api: Api) -> None:
    """The count includes all users; users, the company and lists see the same count."""
    company = api.sign_up_company()
    users, promo_id = [api.sign_up_user() for _ in range(3)], company.create_promo()
    for user in users:
        _like(user, promo_id)
    _unlike(users[0], promo_id)
    assert [_seen(user, promo_id) for user in users] == [(2, False), (2, True), (2, True)]
    assert company.get(f"/business/promo/{promo_id}").json()["like_count"] == 2
    assert company.get("/business/promo").json()[0]["like_count"] == 2


def test_likes_belong_to_one_promo(api: Api) -> None:
    """A like of one promo does not count for another."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id, other_id = company.create_promo(), company.create_promo()
    _like(user, promo_id)
    _unlike(user, other_id)
    assert (_seen(user, promo_id), _seen(user, other_id)) == ((1, True), (0, False))


@pytest.mark.parametrize(
    "changes",
    [{"target": {"country": "fr"}}, {"target": {"age_from": 90}}, {"max_count": 0}, {"active_until": "2020-01-01"}],
)
def test_any_promo_can_be_liked(api: Api, changes: dict[str, Any]) -> None:
    """A user can like any promo, whether or not it is active or targets the user."""
    user, promo_id = api.sign_up_user(), api.sign_up_company().create_promo(**changes)
    assert (_like(user, promo_id), _seen(user, promo_id)) == (200, (1, True))


def test_unknown_promo(api: Api) -> None:
    """A promo that does not exist can be neither liked nor unliked."""
    user = api.sign_up_user()
    assert (_like(user, str(uuid4())), _unlike(user, str(uuid4()))) == (404, 404)


def test_counts_stay_after_a_change(api: Api) -> None:
    """A change of the promo keeps its likes."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo()
    _like(user, promo_id)
    patch = {"description": "A new description", "max_count": 5, "target": {}}
    assert company.patch(f"/business/promo/{promo_id}", json=patch).json()["like_count"] == 1
    assert _seen(user, promo_id) == (1, True)
