"""The feed of a user. It also has the promos of other tests, so each test looks for its own."""

from collections.abc import Iterable
from typing import Any
from unicodedata import normalize
from uuid import uuid4

import pytest

from tests.accounts import Account, Api

FEED = "/user/feed"
INACTIVE: dict[str, Any] = {"active_until": "2020-01-01"}


def _category() -> str:
    """Return a category that no other test uses."""
    return uuid4().hex[:20]


def _feed(user: Account, **query: Any) -> tuple[list[str], int]:
    """Return the ids on a page, and the total."""
    response = user.get(FEED, params=query)
    assert response.status_code == 200, response.text
    return [promo["promo_id"] for promo in response.json()], int(response.headers["x-total-count"])


def _listed(user: Account, ids: Iterable[str]) -> list[str]:
    """Return those of these new promos that are in the feed, in its order."""
    return [promo_id for promo_id in _feed(user, limit=100)[0] if promo_id in set(ids)]


@pytest.mark.parametrize(
    ("target", "matches"),
    [
        ({}, True),
        ({"country": "bV"}, True),
        ({"country": "fr"}, False),
        ({"age_from": 40}, True),
        ({"age_from": 41}, False),
        ({"age_until": 40}, True),
        ({"age_until": 39}, False),
        ({"age_from": 40, "age_until": 40}, True),
        ({"age_from": 41, "age_until": 100}, False),
        ({"age_from": 0, "age_until": 39}, False),
        ({"country": "bv", "age_from": 41}, False),
        ({"country": "fr", "age_from": 40}, False),
        ({"country": "BV", "age_from": 39, "age_until": 41}, True),
    ],
)
def test_targeting(api: Api, target: dict[str, Any], matches: bool) -> None:
    """The feed has the promos that target the user's country or none, in any letter case, and the user's age."""
    category = _category()
    promo_id = api.sign_up_company().create_promo(target=target | {"categories": [category]})
    user = api.sign_up_user(age=40, country="Bv")
    assert _listed(user, [promo_id]) == ([promo_id] if matches else [])
    assert _feed(user, category=category) == (([promo_id], 1) if matches else ([], 0))


@pytest.mark.parametrize("age", [0, 100])
def test_lowest_and_highest_age(api: Api, age: int) -> None:
    """The lowest and the highest age match only a target that includes them."""
    company, user = api.sign_up_company(), api.sign_up_user(age=age)
    matching = company.create_promo(target={"age_from": age, "age_until": age})
    other = company.create_promo(target={"age_from": 1, "age_until": 99})
    assert _listed(user, [matching, other]) == [matching]


def test_categories_without_a_filter(api: Api) -> None:
    """A feed without a category filter has the promos of all categories."""
    promo_id = api.sign_up_company().create_promo(target={"categories": [_category()]})
    assert _listed(api.sign_up_user(), [promo_id]) == [promo_id]


def test_promos_of_all_companies_newest_first(api: Api) -> None:
    """The feed lists the promos of all companies, active or not, newest first."""
    companies = [api.sign_up_company(), api.sign_up_company()]
    ids = [companies[n % 2].create_promo(**(INACTIVE if n > 1 else {})) for n in range(4)]
    assert _listed(api.sign_up_user(), ids) == ids[::-1]


def test_change_keeps_the_position(api: Api) -> None:
    """The order is that of creation, and a change does not affect it."""
    company, user = api.sign_up_company(), api.sign_up_user()
    ids = [company.create_promo() for _ in range(3)]
    company.patch(f"/business/promo/{ids[0]}", json={"description": "A new description", "max_count": 5})
    user.post(f"/user/promo/{ids[1]}/activate")
    assert _listed(user, ids) == ids[::-1]


def test_changed_target(api: Api) -> None:
    """If the target of a promo changes, it moves from one feed to another."""
    company, norwegian, japanese = api.sign_up_company(), api.sign_up_user(country="no"), api.sign_up_user(country="jp")
    promo_id = company.create_promo(target={"country": "no"})
    company.patch(f"/business/promo/{promo_id}", json={"target": {"country": "JP"}})
    assert [_listed(user, [promo_id]) for user in (norwegian, japanese)] == [[], [promo_id]]


def test_pages(api: Api) -> None:
    """`limit` (10 by default) and `offset` select a page. The total counts all pages."""
    category = _category()
    company, user = api.sign_up_company(), api.sign_up_user()
    ids = [company.create_promo(target={"categories": [category]}) for _ in range(12)][::-1]
    assert _feed(user, category=category) == (ids[:10], 12)
    assert _feed(user, category=category, limit=3, offset=2) == (ids[2:5], 12)
    assert _feed(user, category=category, limit=100, offset=11) == (ids[11:], 12)
    assert _feed(user, category=category, offset=12) == ([], 12)
    assert _feed(user, category=category, limit=0) == ([], 12)


def test_total_without_a_filter(api: Api) -> None:
    """The total counts the promos that target the user, and no others."""
    company, user = api.sign_up_company(), api.sign_up_user(country="tv", age=77)
    before = _feed(user, limit=0)[1]
    for target in ({}, {"country": "TV"}, {"country": "fr"}, {"age_from": 78}):
        company.create_promo(target=target)
    assert _feed(user, limit=0) == ([], before + 2)


@pytest.mark.parametrize(
    ("listed", "filtered"),
    [
        ("Coffee", "coffee"),
        ("coffee", "COFFEE"),
        ("КОФЕ и чай", "кофе И ЧАЙ"),
        ("кофе и чай", "КОФЕ И ЧАЙ"),
        ("Ёлки", "ёЛКИ"),
        ("Straße", "STRASSE"),
        ("Γλυκός", "ΓΛΥΚΌΣ"),
        ("Café", "CAFE\u0301"),
        ("e\u0301te\u0301", "Été"),
        (normalize("NFD", "Йод"), "йод"),
        ("ISPARTA", "\u0131sparta"),
        ("İzmir", "izmir"),
        ("iznik", "İZNİK"),
        ("Kad\u0131köy", "KADIKÖY"),
        (normalize("NFD", "한국"), "한국"),
    ],
)
def test_category_in_any_form(api: Api, listed: str, filtered: str) -> None:
    """The category filter ignores case in all scripts, normal form and the dot of an i, also for a changed promo."""
    country = "nu"
    company, user = api.sign_up_company(), api.sign_up_user(country=country)
    created = company.create_promo(target={"country": country, "categories": ["other", listed]})
    changed = company.create_promo(target={"country": country, "categories": ["other"]})
    before = _feed(user, category=filtered, limit=100)[0]
    company.patch(f"/business/promo/{changed}", json={"target": {"country": country, "categories": [listed]}})
    after = _feed(user, category=filtered, limit=100)[0]
    assert (created in before, changed in before) == (True, False)
    assert after[:2] == [changed, created]


@pytest.mark.parametrize(
    "category", ["coffee", "coffee sho", "offee shop", "coffee shops", "%%", "coffee%", "coffee_shop"]
)
def test_category_is_matched_as_a_whole(api: Api, category: str) -> None:
    """A part of a category, a longer text and a pattern match nothing."""
    user = api.sign_up_user(country="tk")
    api.sign_up_company().create_promo(target={"country": "tk", "categories": ["coffee shop"]})
    assert _feed(user, category=category, limit=100) == ([], 0)


@pytest.mark.parametrize("category", ["a,b", "{a}", '"a"', "a\\b", "ab&active=1", "null", "ab'--"])
def test_category_with_special_characters(api: Api, category: str) -> None:
    """Characters that are special in SQL, arrays and URLs are ordinary in a category."""
    user = api.sign_up_user(country="nf")
    promo_id = api.sign_up_company().create_promo(target={"country": "nf", "categories": [category]})
    assert _feed(user, category=category) == ([promo_id], 1)


def test_active_filter(api: Api) -> None:
    """The filter `active` selects active or inactive promos, for each cause of inactivity."""
    category = _category()
    company, user = api.sign_up_company(), api.sign_up_user()
    target = {"categories": [category]}
    running = [company.create_promo(target=target), company.create_promo(target=target, promo_unique=["one", "two"])]
    stopped = [
        company.create_promo(target=target, **changes)
        for changes in (INACTIVE, {"active_from": "2999-01-01"}, {"max_count": 0}, {"promo_unique": ["one"]})
    ]
    assert user.post(f"/user/promo/{stopped[-1]}/activate").status_code == 200
    assert _feed(user, category=category, active="true") == (running[::-1], 2)
    assert _feed(user, category=category, active="false") == (stopped[::-1], 4)
    assert _feed(user, category=category) == ((running + stopped)[::-1], 6)
    assert _feed(user, category=category, active="false", limit=1, offset=1) == ([stopped[2]], 4)


def test_active_agrees_with_the_filter(api: Api) -> None:
    """`active` of the entries agrees with the filter."""
    company, user = api.sign_up_company(), api.sign_up_user()
    company.create_promo()
    company.create_promo(max_count=0)
    for active in (True, False):
        entries = user.get(FEED, params={"active": str(active).lower(), "limit": 5}).json()
        assert {entry["active"] for entry in entries} == {active}


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("category=", "/category"),
        ("category=a", "/category"),
        ("category=" + "c" * 21, "/category"),
        ("category=a%00b", "/category"),
        ("category=ab&category=cd", "/category"),
        ("active=", "/active"),
        ("active=True", "/active"),
        ("active=1", "/active"),
        ("active=yes", "/active"),
        ("active=true&active=true", "/active"),
    ],
)
def test_invalid_filter(api: Api, query: str, pointer: str) -> None:
    """An invalid category or value of `active` is a 400."""
    response = api.sign_up_user().get(f"{FEED}?{query}")
    assert response.status_code == 400
    assert {(detail["in"], detail["pointer"]) for detail in response.json()["details"]} == {("query", pointer)}


@pytest.mark.parametrize("category", ["ab", "я" * 20])
def test_category_lengths(api: Api, category: str) -> None:
    """A category filter has 2 to 20 characters."""
    assert api.sign_up_user().get(FEED, params={"category": category}).status_code == 200
