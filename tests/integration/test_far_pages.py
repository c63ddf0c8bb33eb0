"""Pages far past the end: an offset that api.yml allows is answered, however large it is."""

import pytest

from tests.people import Account, Api

_FARTHEST = 9_007_199_254_740_991


@pytest.fixture(scope="module")
def paths() -> list[str]:
    """The lists of a user, but for the comments of a promo."""
    return ["/user/feed", "/user/feed?category=far-pages", "/user/feed?active=true", "/user/promo/history"]


def _assert_empty(account: Account, path: str, *, offset: int) -> None:
    answer = account.get(f"{path}{'&' if '?' in path else '?'}limit={_FARTHEST}&offset={offset}")
    assert (answer.status_code, answer.json()) == (200, [])
    assert int(answer.headers["X-Total-Count"]) >= 1


@pytest.mark.parametrize("offset", [2**31 - 1, 2**31, 2**32, _FARTHEST - 1, _FARTHEST])
def test_past_the_end(api: Api, paths: list[str], offset: int) -> None:
    """Where there is something, a page past its end is empty, and the total is told."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo(target={"categories": ["far-pages"]})
    assert user.post(f"/user/promo/{promo_id}/activate").status_code == 200
    comments = f"/user/promo/{promo_id}/comments"
    assert user.post(comments, json={"text": "A comment on it."}).status_code == 201
    for path in (*paths, comments):
        _assert_empty(user, path, offset=offset)
    lists = ["/business/promo", "/business/promo?country=fr", "/business/promo?sort_by=active_from&country=fr"]
    for path in (*lists, f"/business/promo/{promo_id}/changes"):
        _assert_empty(company, path, offset=offset)
