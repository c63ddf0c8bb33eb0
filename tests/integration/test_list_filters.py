"""Filters of the company list and of feeds: each equals a filter of the promos in Python, alone and combined."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from itertools import product
from random import Random
from typing import Any
from uuid import uuid4

import pytest

from tests.accounts import Account, Api
from tests.integration.persistence.feeds import seeded
from tests.integration.walks import walk

_STATES = ("archived", "paused", "scheduled", "expired", "exhausted", "active")
_WORDS = ("coffee", "Coffeehouse", "TEA", "straße", "Кофе", "half-price")
_CATEGORIES = ("Hot Drinks", "ЧАЙ", "food")
_SEARCHES = ("cof", "COFFEE", "tea cof", "Strasse", "кофе", "hot", "чай", "summer", "price half", "spring-2", "none")
_COUNTRIES = (None, "ru", "Fr", "US")
_LENGTH = 60


@dataclass
class Scene:
    """A company with promos of all kinds, a user, and the promos as the company reads them, newest first."""

    company: Account
    user: Account
    promos: list[dict[str, Any]]
    liked: set[str]


@pytest.fixture(scope="module")
def scenes() -> dict[str, Scene]:
    """The scene, made by the first test that uses it."""
    return {}


@pytest.fixture
def scene(api: Api, scenes: dict[str, Scene]) -> Scene:
    """A company with 60 random promos, and a user who likes some."""
    if not scenes:
        random, company, user = seeded(4), api.sign_up_company(), api.sign_up_user(age=30, country="fr")
        ids = [_create(random, company, user) for _ in range(_LENGTH)]
        liked = {promo_id for promo_id in ids if random.random() < 0.4}
        for promo_id in liked:
            assert user.post(f"/user/promo/{promo_id}/like").status_code == 200
        promos = [company.get(f"/business/promo/{promo_id}").json() for promo_id in reversed(ids)]
        assert {promo["state"] for promo in promos} == {*_STATES}
        scenes["scene"] = Scene(company, user, promos, liked)
    return scenes["scene"]


def _create(random: Random, company: Account, user: Account) -> str:
    description = " ".join(["Offer:", *random.choices(_WORDS, k=2)])
    target: dict[str, Any] = {"categories": random.sample(_CATEGORIES, random.randrange(3))}
    if country := random.choice(_COUNTRIES):
        target["country"] = country
    if random.random() < 0.2:
        target["age_from"] = random.choice([18, 31])
    values: dict[str, Any] = {}
    if random.random() < 0.5:
        values["active_from"] = random.choice(["2020-01-01", "2025-01-10", "2999-01-01"])
    if random.random() < 0.5:
        values["active_until"] = random.choice(["2999-01-01", "2999-02-01"])
        if random.random() < 0.4 and "2999" not in values.get("active_from", ""):
            values["active_until"] = "2025-02-01"
    code = random.choice(["SUMMER-1", "spring-25"])
    values |= random.choice([{"promo_common": code}, {"promo_common": code}, {"promo_unique": ["one"]}])
    promo_id = company.create_promo(description=description, target=target, **values)
    if random.random() < 0.3:
        user.post(f"/user/promo/{promo_id}/activate")
    changes = {name: True for name in ("paused", "archived") if random.random() < 0.15}
    if changes:
        assert company.patch(f"/business/promo/{promo_id}", json=changes).status_code == 200
    return promo_id


def _words(texts: Iterable[str]) -> list[str]:
    return " ".join(texts).casefold().replace("-", " ").replace(":", " ").split()


def _has_words(promo: dict[str, Any], q: str, *, with_code: bool) -> bool:
    code = [promo.get("promo_common", "")] if with_code else []
    words = _words([promo["description"], *promo["target"].get("categories", ()), *code])
    return all(any(word.startswith(wanted) for word in words) for wanted in _words([q]))


def _own(scene: Scene, filters: dict[str, Any]) -> list[str]:
    """Return the ids of the company list."""
    states = filters.get("state", "").split(",") if "state" in filters else [*_STATES[1:]]
    countries = (
        {None, *(country.lower() for country in filters["country"].split(","))} if "country" in filters else None
    )
    promos = [
        promo
        for promo in scene.promos
        if promo["state"] in states
        and promo["mode"] == filters.get("mode", promo["mode"])
        and ("q" not in filters or _has_words(promo, filters["q"], with_code=True))
        and (countries is None or (promo["target"].get("country", "").lower() or None) in countries)
    ]
    # Stable, so that equal dates stay newest first.
    if filters.get("sort_by") == "active_from":
        promos.sort(key=lambda promo: -_ordinal(promo.get("active_from"), 0))
    elif filters.get("sort_by") == "active_until":
        promos.sort(key=lambda promo: -_ordinal(promo.get("active_until"), date.max.toordinal() + 1))
    return [promo["promo_id"] for promo in promos]


def _ordinal(day: str | None, missing: int) -> int:
    return missing if day is None else date.fromisoformat(day).toordinal()


def _in_feed(scene: Scene, filters: dict[str, Any]) -> list[str]:
    """Return the ids of the feed."""
    return [
        promo["promo_id"]
        for promo in scene.promos
        if promo["state"] != "archived"
        and promo["target"].get("country", "fr").lower() == "fr"
        and promo["target"].get("age_from", 0) <= 30
        and str(promo["active"]).lower() == filters.get("active", str(promo["active"]).lower())
        and ("category" not in filters or filters["category"].casefold() in _folded(promo))
        and (filters.get("liked") != "true" or promo["promo_id"] in scene.liked)
        and ("q" not in filters or _has_words(promo, filters["q"], with_code=False))
    ]


def _folded(promo: dict[str, Any]) -> list[str]:
    return [category.casefold() for category in promo["target"].get("categories", ())]


def _assert_lists(account: Account, path: str, filters: dict[str, Any], expected: list[str], random: Random) -> None:
    """Assert a list as a whole, a page by offset, a walk from it, and the totals."""
    query = {name: str(value) for name, value in filters.items()}
    for limit, offset in ((100, 0), (0, 0), (3, random.randrange(len(expected) + 2)), (2, max(len(expected) - 2, 0))):
        response = account.get(path, params={**query, "limit": limit, "offset": offset})
        assert response.status_code == 200, response.text
        assert [promo["promo_id"] for promo in response.json()] == expected[offset : offset + limit], (filters, offset)
        assert int(response.headers["X-Total-Count"]) == len(expected)
        assert ("Link" in response.headers) == (0 < limit < len(expected) - offset)
    separator = "?" + "&".join(f"{name}={value}" for name, value in query.items())
    pages = list(walk(account, f"{path}{separator}&limit={random.choice([1, 2, 5, 7])}"))
    assert [promo["promo_id"] for page in pages for promo in page.json()] == expected
    assert {int(page.headers["X-Total-Count"]) for page in pages} == {len(expected)}


def _random_filters(random: Random, choices: dict[str, Any]) -> dict[str, Any]:
    chosen = {name: random.choice(values) for name, values in choices.items() if random.random() < 0.5}
    return chosen or {"q": "cof"}


@pytest.mark.parametrize("seed", range(30))
def test_company_list(scene: Scene, seed: int) -> None:
    """The company list with any filters and order has exactly the promos that match, by offset and by cursor."""
    random = seeded(seed)
    states = [",".join(random.sample(_STATES, number)) for number in range(1, 7)]
    choices = {
        "state": [*_STATES, *states],
        "mode": ["COMMON", "UNIQUE"],
        "q": _SEARCHES,
        "country": ["ru", "fr,US", "de"],
        "sort_by": ["active_from", "active_until"],
    }
    for _ in range(3):
        filters = _random_filters(random, choices)
        _assert_lists(scene.company, "/business/promo", filters, _own(scene, filters), random)


@pytest.mark.parametrize("seed", range(30))
def test_feed(scene: Scene, seed: int) -> None:
    """A feed with any filters has exactly the promos that match and target the user, by offset and by cursor."""
    random = seeded(seed)
    choices = {
        "q": _SEARCHES,
        "liked": ["true", "true", "false"],
        "active": ["true", "false"],
        "category": ["hot drinks", "чай", "food"],
    }
    for _ in range(3):
        filters = _random_filters(random, choices)
        expected = _in_feed(scene, filters)
        if filters.get("liked") != "true" or random.random() < 0.5:
            # Other tests create promos too.
            filters["company_id"] = scene.company.id
        _assert_lists(scene.user, "/user/feed", filters, expected, random)


@pytest.mark.parametrize("filters", [{"q": "cof"}, {"q": "price half", "active": "true"}, {"liked": "true"}])
def test_feed_of_all_companies(api: Api, scene: Scene, filters: dict[str, str]) -> None:
    """Without `company_id`, a feed has the promos of all companies."""
    other = api.sign_up_company()
    added = other.create_promo(description="Half-price coffee of another company")
    scene.user.post(f"/user/promo/{added}/like")
    response = scene.user.get("/user/feed", params={**filters, "limit": 100})
    listed = [promo["promo_id"] for promo in response.json()]
    own = [promo_id for promo_id in listed if promo_id in {promo["promo_id"] for promo in scene.promos}]
    assert (listed[0], own) == (added, _in_feed(scene, filters))
    scene.user.delete(f"/user/promo/{added}/like")


def test_states(scene: Scene) -> None:
    """`state` lists the promos whose `state` it is; several are repeated or separated by commas."""
    for state in _STATES:
        listed = scene.company.get(f"/business/promo?state={state}&limit=100").json()
        assert listed
        assert {promo["state"] for promo in listed} == {state}
    paths = ("state=paused,archived", "state=archived&state=paused", "state=paused,archived,paused")
    lists = [scene.company.get(f"/business/promo?{path}&limit=100").json() for path in paths]
    assert lists[0] == lists[1] == lists[2]
    everything = scene.company.get(f"/business/promo?state={','.join(_STATES)}&limit=0")
    assert everything.headers["X-Total-Count"] == str(_LENGTH)


def test_state_follows_changes(api: Api) -> None:
    """The filter by state sees a change at once."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo(max_count=1)
    path = f"/business/promo/{promo_id}"

    def listed() -> list[str]:
        counts = [company.get(f"/business/promo?state={state}&limit=0").headers["X-Total-Count"] for state in _STATES]
        return [state for state, number in zip(_STATES, counts, strict=True) if number == "1"]

    assert listed() == ["active"]
    assert user.post(f"/user/promo/{promo_id}/activate").status_code == 200
    assert listed() == ["exhausted"]
    for change, state in (
        ({"max_count": 2}, "active"),
        ({"active_until": "2025-01-01"}, "expired"),
        ({"active_until": None, "active_from": "2999-01-01"}, "scheduled"),
        ({"paused": True}, "paused"),
        ({"archived": True}, "archived"),
        ({"archived": False, "paused": False, "active_from": None}, "active"),
    ):
        assert company.patch(path, json=change).status_code == 200
        assert listed() == [state]


def test_liked_follows_likes(api: Api) -> None:
    """The filter by likes sees a like at once, and only those of the user."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo()

    def liked() -> list[str]:
        return [promo["promo_id"] for promo in user.get("/user/feed?liked=true").json()]

    assert liked() == []
    api.sign_up_user().post(f"/user/promo/{promo_id}/like")
    assert liked() == []
    user.post(f"/user/promo/{promo_id}/like")
    assert liked() == [promo_id]
    company.patch(f"/business/promo/{promo_id}", json={"archived": True})
    assert liked() == []
    company.patch(f"/business/promo/{promo_id}", json={"archived": False})
    user.delete(f"/user/promo/{promo_id}/like")
    assert liked() == []


def test_unknown_company(api: Api) -> None:
    """The promos of a company that does not exist, or of a user's id, are an empty list."""
    response = api.sign_up_user().get(f"/user/feed?company_id={uuid4()}")
    assert (response.json(), response.headers["X-Total-Count"]) == ([], "0")


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("/business/promo?state=", "/state/0"),
        ("/business/promo?state=ACTIVE", "/state/0"),
        ("/business/promo?state=active,", "/state/1"),
        ("/business/promo?state=active&state=gone", "/state/1"),
        ("/business/promo?state=" + ",".join(["active"] * 7), "/state"),
        ("/business/promo?mode=", "/mode"),
        ("/business/promo?mode=common", "/mode"),
        ("/business/promo?mode=COMMON%0A", "/mode"),
        ("/business/promo?mode=COMMON,UNIQUE", "/mode"),
        ("/business/promo?mode=COMMON&mode=UNIQUE", "/mode"),
        ("/business/promo?liked=true", "/liked"),
        ("/user/feed?state=active", "/state"),
        ("/user/feed?liked=1", "/liked"),
        ("/user/feed?liked=", "/liked"),
        ("/user/feed?company_id=1", "/company_id"),
        ("/user/feed?company_id=", "/company_id"),
    ],
)
def test_invalid_filter(api: Api, path: str, pointer: str) -> None:
    """An invalid filter is a 400 that names it."""
    account = api.sign_up_company() if path.startswith("/business") else api.sign_up_user()
    response = account.get(path)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    assert [detail["pointer"] for detail in response.json()["details"]] == [pointer]


def test_cursor_is_bound_to_filters(scene: Scene) -> None:
    """A cursor is valid with the filters of its page only."""
    company_lists = (
        "",
        "&state=active",
        "&state=active,paused",
        "&mode=COMMON",
        "&q=cof",
        "&q=coffee",
        "&q=cof&mode=COMMON",
    )
    feeds = ("&q=cof", "&q=cof&liked=true", "&liked=true", f"&company_id={scene.company.id}", "&q=cof&active=true")
    lists = [*product(["/business/promo?limit=1"], company_lists), *product(["/user/feed?limit=1"], feeds)]
    cursors = {}
    for path, filters in lists:
        account = scene.company if path.startswith("/business") else scene.user
        cursors[path + filters] = account.get(path + filters).headers["X-Next-Cursor"]
    for path in cursors:
        account = scene.company if path.startswith("/business") else scene.user
        statuses = {other: account.get(f"{path}&cursor={cursor}").status_code for other, cursor in cursors.items()}
        assert [other for other, status in statuses.items() if status == 200] == [path]
        assert {*statuses.values()} == {200, 400}
