"""Pages at any offset: complete and in order from either end of a list, and empty past the end. Walks by cursor."""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any
from uuid import UUID

import jwt
import pytest

from persistence import comments
from persistence.accounts.users import find_user
from persistence.feeds.user_promos import list_feed_promos
from promo_api.runtime import Runtime
from tests.accounts import Account, Api
from tests.integration.walks import walk
from tests.statements import sent_statements

_MAX_OFFSET = 9_007_199_254_740_991
_LENGTH = 13
_CATEGORY = "deep-pages"
_COMPANY_LISTS = (
    "/business/promo",
    "/business/promo?country=fr",
    "/business/promo?country=fr,ru",
    "/business/promo?sort_by=active_from",
    "/business/promo?sort_by=active_until&country=fr",
)
_CHANGES = "/business/promo/{id}/changes"
_USER_LISTS = (
    f"/user/feed?category={_CATEGORY}",
    f"/user/feed?category={_CATEGORY}&active=true",
    f"/user/feed?category={_CATEGORY}&active=false",
    "/user/promo/history",
    "/user/activations",
    "/user/promo/{id}/comments",
)
_EMPTY = [
    "/user/feed",
    "/user/feed?category=deep-pages",
    "/user/feed?active=true",
    "/user/promo/history",
    "/user/activations",
]

Lists = Callable[[str], tuple[Account, str]]


@pytest.fixture(scope="module")
def lists() -> dict[str, Any]:
    """A company and a user with lists of 13 entries, made by the first test that uses them."""
    return {}


@pytest.fixture
def listed(api: Api, lists: dict[str, Any]) -> Lists:
    """Returns the owner and the full path of a list."""
    if not lists:
        company, user = api.sign_up_company(), api.sign_up_user(country="fr")
        for number in range(_LENGTH):
            day = f"2025-01-{1 + number % 5:02}"
            dates = {"active_from": day, "active_until": day.replace("2025", "2999")} if number % 4 else {}
            country = {"country": ("fr", "ru")[number % 2]} if number % 3 else {}
            kind = {"promo_unique": ["one", "two"]} if number % 5 == 0 else {"max_count": 20 * (number % 4)}
            promo_id = company.create_promo(target={"categories": [_CATEGORY], **country}, **dates, **kind)
            user.post(f"/user/promo/{promo_id}/activate")
        for number in range(_LENGTH):
            user.post(f"/user/promo/{promo_id}/activate")
            user.post(f"/user/promo/{promo_id}/comments", json={"text": f"Comment number {number}"})
            company.patch(f"/business/promo/{promo_id}", json={"description": f"Description number {number}"})
        lists |= {"company": company, "user": user, "id": promo_id}
    return lambda path: (lists["company" if path.startswith("/business") else "user"], path.format(**lists))


def _page(account: Account, path: str, *, limit: int, offset: int) -> tuple[Any, int]:
    response = account.get(f"{path}{'&' if '?' in path else '?'}limit={limit}&offset={offset}")
    assert response.status_code == 200, response.text
    return response.json(), int(response.headers["X-Total-Count"])


@pytest.mark.parametrize("path", [*_COMPANY_LISTS, *_USER_LISTS])
def test_pages_at_every_offset(listed: Lists, path: str) -> None:
    """A page is the same part of the list at any offset, in either half."""
    account, path = listed(path)
    whole, total = _page(account, path, limit=100, offset=0)
    assert len(whole) == total > 2
    for limit in (1, 4):
        for offset in range(total + 2):
            assert _page(account, path, limit=limit, offset=offset) == (whole[offset : offset + limit], total)


@pytest.mark.parametrize("path", [*_COMPANY_LISTS, *_USER_LISTS, _CHANGES])
def test_walk_by_cursor(listed: Lists, path: str) -> None:
    """A walk by cursor returns the list, from any offset and with pages of any size."""
    account, path = listed(path)
    whole, total = _page(account, path, limit=100, offset=0)
    for limit, offset in product((1, 4, total - 1, total, total + 1), (0, 3, total - 1, total)):
        pages = list(walk(account, f"{path}{'&' if '?' in path else '?'}limit={limit}&offset={offset}"))
        assert [entry for page in pages for entry in page.json()] == whole[offset:]
        assert {int(page.headers["X-Total-Count"]) for page in pages} == {total}
        assert [len(page.json()) for page in pages[:-1]] == [limit] * (len(pages) - 1)
        assert pages[-1].json() or offset == total


@pytest.mark.parametrize("path", [*_COMPANY_LISTS, *_USER_LISTS])
def test_empty_page_reads_no_rows(listed: Lists, path: str) -> None:
    """An empty page takes two statements: one reads the account, the other the total."""
    account, path = listed(path)
    _, total = _page(account, path, limit=1, offset=0)
    for limit, offset in ((0, 0), (10, total), (10, _MAX_OFFSET)):
        with sent_statements() as sent:
            assert _page(account, path, limit=limit, offset=offset) == ([], total)
        assert len(sent) == 2


def test_page_from_the_end_with_new_entries(listed: Lists, runtime: Runtime) -> None:
    """A comment that is added after the total was read does not move the page."""
    account, path = listed("/user/promo/{id}/comments")
    whole, total = _page(account, path, limit=100, offset=0)
    values = {"promo": UUID(path.split("/")[3])}
    with runtime.database.autocommit() as connection:
        # As if the last two had been added since.
        page = comments._PAGES.page(connection, values, total=total - 2, limit=3, offset=total - 4)
    assert [str(entry.id) for entry in page.entries] == [comment["id"] for comment in whole[-4:-1]]
    assert page.next_key is not None


def test_last_page_with_new_entries(listed: Lists, runtime: Runtime) -> None:
    """A page that was the last when the total was read has the end of the list, or leads to it."""
    account, _ = listed("/user/feed")
    user_id = jwt.decode(account.token, options={"verify_signature": False})["sub"]
    with runtime.database.autocommit() as connection:
        user = find_user(connection, UUID(user_id))
        assert user is not None
        read = partial(list_feed_promos, connection, user, runtime.today(), category=_CATEGORY, active=None)
        whole = read(total=100, limit=100).entries
        # As if the last had been added since.
        total = len(whole) - 1
        first, last = read(total=total, limit=total), read(total=total, limit=2, offset=total - 2)
        assert (first.entries, first.next_key is None) == (whole[:total], False)
        assert (last.entries, last.next_key is None) == (whole[-2:], True)
        assert read(total=len(whole), limit=total + 1).next_key is None


def _assert_empty(account: Account, path: str, *, offset: int) -> None:
    page, total = _page(account, path, limit=_MAX_OFFSET, offset=offset)
    assert page == []
    assert total >= 1


@pytest.mark.parametrize("offset", [2**31 - 1, 2**31, 2**32, _MAX_OFFSET - 1, _MAX_OFFSET])
def test_past_the_end(api: Api, offset: int) -> None:
    """Any offset that api.yml allows past the end returns an empty page and the total."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo(target={"categories": ["deep-pages"]})
    assert user.post(f"/user/promo/{promo_id}/activate").status_code == 200
    comments = f"/user/promo/{promo_id}/comments"
    assert user.post(comments, json={"text": "A comment on it."}).status_code == 201
    for path in (*_EMPTY, comments):
        _assert_empty(user, path, offset=offset)
    paths = ["/business/promo", "/business/promo?country=fr", "/business/promo?sort_by=active_from&country=fr"]
    for path in (*paths, f"/business/promo/{promo_id}/changes"):
        _assert_empty(company, path, offset=offset)
