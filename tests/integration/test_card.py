"""A promo as a user sees it."""

from typing import Any
from uuid import uuid4

import pytest

from tests.accounts import Account, Api

COMMENT = {"text": "The cappuccino was worth it."}


def _card(user: Account, promo_id: str) -> Any:
    return user.get(f"/user/promo/{promo_id}").json()


def test_card_of_a_new_promo(api: Api) -> None:
    """A card has what the company said for users and the counts, and nothing else."""
    company, user = api.sign_up_company(name="Southern Tea"), api.sign_up_user()
    promo_id = company.create_promo(description="Tea for two, for one", image_url="https://example.com/tea.png")
    assert _card(user, promo_id) == {
        "promo_id": promo_id,
        "company_id": company.id,
        "company_name": "Southern Tea",
        "description": "Tea for two, for one",
        "image_url": "https://example.com/tea.png",
        "active": True,
        "is_activated_by_user": False,
        "like_count": 0,
        "is_liked_by_user": False,
        "comment_count": 0,
    }


def test_card_without_an_image(api: Api) -> None:
    """An image that was not given is left out."""
    assert "image_url" not in _card(api.sign_up_user(), api.sign_up_company().create_promo())


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
    """A card is shown of any promo, whoever it targets and whether it is active."""
    promo_id = api.sign_up_company().create_promo(**changes)
    card = _card(api.sign_up_user(), promo_id)
    assert (card["promo_id"], card["active"]) == (promo_id, "target" in changes)


def test_card_of_no_promo(api: Api) -> None:
    """There is no card of a promo that there is not."""
    assert api.sign_up_user().get(f"/user/promo/{uuid4()}").status_code == 404


def test_card_follows_a_change(api: Api) -> None:
    """A card shows the promo as its company has made it since."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo()
    patch = {"description": "A new description", "image_url": "https://example.com/new"}
    company.patch(f"/business/promo/{promo_id}", json=patch | {"max_count": 0})
    assert _card(user, promo_id).items() >= (patch | {"active": False}).items()


def test_flags_are_those_of_the_user_who_asks(api: Api) -> None:
    """The card tells whether this user has activated or likes it; the counts are those of all users."""
    promo_id = api.sign_up_company().create_promo()
    one, other = api.sign_up_user(), api.sign_up_user()
    one.post(f"/user/promo/{promo_id}/activate")
    one.post(f"/user/promo/{promo_id}/like")
    one.post(f"/user/promo/{promo_id}/comments", json=COMMENT)
    counts = {"like_count": 1, "comment_count": 1}
    acted = {"is_activated_by_user": True, "is_liked_by_user": True}
    assert _card(one, promo_id).items() >= (counts | acted).items()
    assert _card(other, promo_id).items() >= (counts | dict.fromkeys(acted, False)).items()


def test_flags_are_those_of_the_promo(api: Api) -> None:
    """What a user did with one promo is not told of another."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id, other_id = company.create_promo(), company.create_promo()
    before = _card(user, other_id)
    user.post(f"/user/promo/{promo_id}/activate")
    user.post(f"/user/promo/{promo_id}/like")
    user.post(f"/user/promo/{promo_id}/comments", json=COMMENT)
    assert _card(user, other_id) == before


def test_feed_and_history_show_the_same_card(api: Api) -> None:
    """The entry of a feed and of the history is the card."""
    company, user = api.sign_up_company(), api.sign_up_user(country="sj")
    promo_id = company.create_promo(target={"country": "sj", "categories": ["the same card"]})
    user.post(f"/user/promo/{promo_id}/activate")
    user.post(f"/user/promo/{promo_id}/like")
    card = _card(user, promo_id)
    assert user.get("/user/feed?category=the+same+card").json() == [card]
    assert user.get("/user/promo/history").json() == [card]


@pytest.mark.parametrize("changes", [{"promo_common": "KEEP-THIS-1"}, {"promo_unique": ["KEEP-THIS-1", "KEEP-THIS-2"]}])
def test_values_are_revealed_by_activation_only(api: Api, changes: dict[str, Any]) -> None:
    """Neither card nor feed nor history nor likes show a value, not even to who has it."""
    company, user = api.sign_up_company(), api.sign_up_user(country="sj")
    promo_id = company.create_promo(target={"country": "sj"}, **changes)
    assert "KEEP-THIS" in user.post(f"/user/promo/{promo_id}/activate").text
    answers = [
        user.get(f"/user/promo/{promo_id}"),
        user.get("/user/feed?limit=100"),
        user.get("/user/promo/history"),
        user.post(f"/user/promo/{promo_id}/like"),
        user.get(f"/user/promo/{promo_id}/comments"),
    ]
    assert [answer.status_code for answer in answers] == [200] * 5
    assert not any("KEEP-THIS" in answer.text for answer in answers)


def test_used_count_and_target_are_not_for_users(api: Api) -> None:
    """How often a promo was used and whom it targets is shown to its company, not to users."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo(target={"country": "ru"})
    shown = {"used_count", "max_count", "target", "mode"}
    assert shown <= set(company.get(f"/business/promo/{promo_id}").json())
    assert not shown & set(_card(user, promo_id))
