"""PromoForUser: a promo as users see it."""

from typing import Any
from uuid import uuid4

import pytest

from tests.accounts import Account, Api

COMMENT = {"text": "The cappuccino was worth it."}


def _promo(user: Account, promo_id: str) -> Any:
    return user.get(f"/user/promo/{promo_id}").json()


def test_new_promo(api: Api) -> None:
    """A new promo has its public definition, zero counts and false flags, and nothing else."""
    company, user = api.sign_up_company(name="Southern Tea"), api.sign_up_user()
    period = {"active_from": "2020-01-10", "active_until": "2999-01-10"}
    promo_id = company.create_promo(
        description="Tea for two, for one",
        image_url="https://example.com/tea.png",
        target={"country": "ru", "age_from": 18, "categories": ["Food", "tea"]},
        **period,
    )
    assert _promo(user, promo_id) == {
        "promo_id": promo_id,
        "company_id": company.id,
        "company_name": "Southern Tea",
        "mode": "COMMON",
        "description": "Tea for two, for one",
        "image_url": "https://example.com/tea.png",
        "categories": ["Food", "tea"],
        **period,
        "active": True,
        "is_activated_by_user": False,
        "like_count": 0,
        "is_liked_by_user": False,
        "comment_count": 0,
    }


@pytest.mark.parametrize("target", [{}, {"categories": []}])
def test_members_without_a_value(api: Api, target: dict[str, Any]) -> None:
    """Members that the company has not set are left out, and so is an empty list of categories."""
    promo_id = api.sign_up_company().create_promo(target=target, promo_unique=["one", "two"])
    promo = _promo(api.sign_up_user(), promo_id)
    assert not {"image_url", "categories", "active_from", "active_until"} & promo.keys()
    assert promo["mode"] == "UNIQUE"


@pytest.mark.parametrize(
    "changes",
    [
        {"target": {"country": "fr"}},
        {"target": {"age_from": 90}},
        {"active_until": "2020-01-01"},
        {"active_from": "2999-01-01"},
        {"max_count": 0},
    ],
)
def test_any_promo_can_be_read(api: Api, changes: dict[str, Any]) -> None:
    """A user can read any promo, also one that is inactive or targets others."""
    promo_id = api.sign_up_company().create_promo(**changes)
    promo = _promo(api.sign_up_user(), promo_id)
    assert (promo["promo_id"], promo["active"]) == (promo_id, "target" in changes)


def test_unknown_promo(api: Api) -> None:
    """An unknown promo is a 404."""
    assert api.sign_up_user().get(f"/user/promo/{uuid4()}").status_code == 404


def test_changed_promo(api: Api) -> None:
    """Users see the changes that the company makes."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo()
    patch = {"description": "A new description", "image_url": "https://example.com/new"}
    company.patch(f"/business/promo/{promo_id}", json=patch | {"max_count": 0})
    assert _promo(user, promo_id).items() >= (patch | {"active": False}).items()


def test_flags_of_each_user(api: Api) -> None:
    """The flags are about the user who reads the promo. The counts are about all users."""
    promo_id = api.sign_up_company().create_promo()
    one, other = api.sign_up_user(), api.sign_up_user()
    one.post(f"/user/promo/{promo_id}/activate")
    one.post(f"/user/promo/{promo_id}/like")
    one.post(f"/user/promo/{promo_id}/comments", json=COMMENT)
    counts = {"like_count": 1, "comment_count": 1}
    flags = {"is_activated_by_user": True, "is_liked_by_user": True}
    assert _promo(one, promo_id).items() >= (counts | flags).items()
    assert _promo(other, promo_id).items() >= (counts | dict.fromkeys(flags, False)).items()


def test_flags_of_each_promo(api: Api) -> None:
    """The actions of a user on one promo do not change another."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id, other_id = company.create_promo(), company.create_promo()
    before = _promo(user, other_id)
    user.post(f"/user/promo/{promo_id}/activate")
    user.post(f"/user/promo/{promo_id}/like")
    user.post(f"/user/promo/{promo_id}/comments", json=COMMENT)
    assert _promo(user, other_id) == before


def test_feed_and_history_return_the_same_object(api: Api) -> None:
    """An entry of the feed and of the history equals the promo that is read alone."""
    company, user = api.sign_up_company(), api.sign_up_user(country="sj")
    target = {"country": "sj", "categories": ["the same object"]}
    promo_id = company.create_promo(target=target, active_from="2020-01-10", active_until="2999-01-10")
    user.post(f"/user/promo/{promo_id}/activate")
    user.post(f"/user/promo/{promo_id}/like")
    promo = _promo(user, promo_id)
    assert user.get("/user/feed?category=the+same+object").json() == [promo]
    assert user.get("/user/promo/history").json() == [promo]


@pytest.mark.parametrize("changes", [{"promo_common": "KEEP-THIS-1"}, {"promo_unique": ["KEEP-THIS-1", "KEEP-THIS-2"]}])
def test_only_an_activation_reveals_values(api: Api, changes: dict[str, Any]) -> None:
    """No operation about a promo reveals a value but its activation, even to a user who activated it."""
    company, user = api.sign_up_company(), api.sign_up_user(country="sj")
    promo_id = company.create_promo(target={"country": "sj"}, **changes)
    assert "KEEP-THIS" in user.post(f"/user/promo/{promo_id}/activate").text
    responses = [
        user.get(f"/user/promo/{promo_id}"),
        user.get("/user/feed?limit=100"),
        user.get("/user/promo/history"),
        user.post(f"/user/promo/{promo_id}/like"),
        user.get(f"/user/promo/{promo_id}/comments"),
    ]
    assert [response.status_code for response in responses] == [200] * 5
    assert not any("KEEP-THIS" in response.text for response in responses)


def test_use_counts_and_target_are_hidden_from_users(api: Api) -> None:
    """Only the company sees the use counts and the target of a promo; users see its categories."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo(target={"country": "ru", "age_from": 18})
    shown = {"used_count", "max_count", "target"}
    assert shown <= set(company.get(f"/business/promo/{promo_id}").json())
    assert not (shown | {"country", "age_from", "age_until"}) & set(_promo(user, promo_id))
