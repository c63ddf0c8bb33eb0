"""Walks by cursor while other requests add promos and remove them from feeds."""

from functools import partial
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from tests.accounts import Account, Api
from tests.race.interleaving import together

_STAYING, _LEAVING, _ADDED = 24, 12, 20


def _walk(user: Account, path: str) -> list[str]:
    walked: list[str] = []
    while path:
        response = user.get(path)
        assert response.status_code == 200, response.text
        walked += [promo["promo_id"] for promo in response.json()]
        path = response.links["next"]["url"].removeprefix("/api") if "Link" in response.headers else ""
    return walked


def _add(company: Account, category: str, **changes: Any) -> list[str]:
    return [company.create_promo(target={"categories": [category]}, **changes) for _ in range(_ADDED)]


def _remove(company: Account, promo_ids: list[str]) -> list[str]:
    for number, promo_id in enumerate(promo_ids):
        patch: dict[str, Any] = {"target": {"country": "jp"}} if number % 2 else {"max_count": 0}
        assert company.patch(f"/business/promo/{promo_id}", json=patch).status_code == 200
    return promo_ids


@pytest.mark.parametrize("limit", [2, 7, _STAYING + _LEAVING])
@pytest.mark.parametrize("active", ["", "&active=true"])
def test_feed(api: Api, active: str, limit: int) -> None:
    """A walk over a feed repeats no promo and misses none that stays, while others are added and removed."""
    category = f"race {limit}{active[1:7]}"
    company, user = api.sign_up_company(), api.sign_up_user()
    numbers = count()
    ids = [company.create_promo(target={"categories": [category]}) for _ in range(_STAYING + _LEAVING)]
    leaving = [promo_id for promo_id in ids if next(numbers) % 3 == 0]
    path = f"/user/feed?category={category}{active}&limit={limit}"
    walks = [partial(_walk, user, path)] * 3
    results = together([partial(_add, company, category), partial(_remove, company, leaving), *walks])
    for walked in results[2:]:
        assert len(walked) == len(set(walked))
        expected = [promo_id for promo_id in reversed(ids) if promo_id not in leaving]
        assert [promo_id for promo_id in walked if promo_id in expected] == expected


def _archive(company: Account, promo_ids: list[str]) -> None:
    for number, promo_id in enumerate(promo_ids):
        patch: dict[str, Any] = {"description": "Something else"} if number % 2 else {"archived": True}
        assert company.patch(f"/business/promo/{promo_id}", json=patch).status_code == 200


@pytest.mark.parametrize("limit", [2, 7])
@pytest.mark.parametrize("other", ["", "&active=true", "&company_id={id}", "&liked=true"])
def test_search(api: Api, other: str, limit: int) -> None:
    """A walk over a search repeats no promo and misses none that stays, while others are created and archived."""
    word = f"w{uuid4().hex}"
    company, user = api.sign_up_company(), api.sign_up_user()
    description = f"A promo with {word}"
    ids = [company.create_promo(description=description) for _ in range(_STAYING + _LEAVING)]
    for promo_id in ids:
        user.post(f"/user/promo/{promo_id}/like")
    leaving = ids[::3]
    expected = [promo_id for promo_id in reversed(ids) if promo_id not in leaving]
    path = f"/user/feed?limit={limit}&q={word.upper()}{other.format(id=company.id)}"
    own = f"/business/promo?limit={limit}&q={word}&state=active"
    walks = [partial(_walk, user, path), partial(_walk, user, path), partial(_walk, company, own)]
    add = partial(_add, company, "search", description=description)
    results = together([add, partial(_archive, company, leaving), *walks])
    for walked in results[2:]:
        assert len(walked) == len(set(walked))
        assert [promo_id for promo_id in walked if promo_id in expected] == expected
