"""Comments on promos."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.accounts import Account, Api
from tests.cases import all_cases

TEXT = "The cappuccino was worth it."
OTHER_TEXT = "It was not, on second thoughts."
INVALID_BODIES: list[Any] = [
    {"text": "123456789"},
    {"text": "x" * 1001},
    {"text": ""},
    {"text": "a long\x00comment"},
    {"text": None},
    {"text": 1234567890},
    {"text": ["The cappuccino"]},
    {},
    {"text": TEXT, "date": "2025-01-01T00:00:00Z"},
    {"text": TEXT, "id": "c3a8e5f4-17d2-4b60-9f8c-5d0e6b2a7c91"},
    [],
    None,
    TEXT,
]


@pytest.fixture
def promo_id(api: Api) -> str:
    """The id of a promo without comments."""
    return api.sign_up_company().create_promo()


def _comments(promo_id: str) -> str:
    return f"/user/promo/{promo_id}/comments"


def _write(user: Account, promo_id: str, text: str = TEXT) -> Any:
    response = user.post(_comments(promo_id), json={"text": text})
    assert response.status_code == 201, response.text
    return response.json()


def _list(user: Account, promo_id: str, **query: Any) -> tuple[list[str], int]:
    """Return the ids on a page, and the total."""
    response = user.get(_comments(promo_id), params=query)
    return [comment["id"] for comment in response.json()], int(response.headers["x-total-count"])


def _count(user: Account, promo_id: str) -> Any:
    return user.get(f"/user/promo/{promo_id}").json()["comment_count"]


def test_new_comment(api: Api, promo_id: str) -> None:
    """A new comment has its text, author and date, and is the same when read alone and in the list."""
    user = api.sign_up_user(avatar_url="https://example.com/ann.png")
    before = datetime.now(UTC) - timedelta(seconds=1)
    comment = _write(user, promo_id)
    assert (comment["text"], comment["author"]) == (
        TEXT,
        {"name": "Ann", "surname": "Lee", "avatar_url": "https://example.com/ann.png"},
    )
    assert before < datetime.fromisoformat(comment["date"]) < datetime.now(UTC) + timedelta(seconds=1)
    assert user.get(f"{_comments(promo_id)}/{comment['id']}").json() == comment
    assert user.get(_comments(promo_id)).json() == [comment]


def test_author_without_an_avatar(api: Api, promo_id: str) -> None:
    """The author of a comment has no `avatar_url` if the profile has none."""
    assert _write(api.sign_up_user(), promo_id)["author"] == {"name": "Ann", "surname": "Lee"}


def test_author_follows_the_profile(api: Api, promo_id: str) -> None:
    """The author of an old comment has the current name and avatar."""
    user = api.sign_up_user()
    comment = _write(user, promo_id)
    user.patch("/user/profile", json={"name": "Bob", "avatar_url": "https://example.com/b"})
    author = {"name": "Bob", "surname": "Lee", "avatar_url": "https://example.com/b"}
    assert user.get(f"{_comments(promo_id)}/{comment['id']}").json()["author"] == author
    assert user.get(_comments(promo_id)).json()[0]["author"] == author


@pytest.mark.parametrize("text", ["0123456789", "ж" * 1000, "\U0001f680" * 1000, "  spaces \n\t stay  "])
def test_text_of_10_to_1000_characters(api: Api, promo_id: str, text: str) -> None:
    """A text of 10 to 1000 characters is stored unchanged, in a new and in a changed comment."""
    user = api.sign_up_user()
    comment = _write(user, promo_id, text)
    path = f"{_comments(promo_id)}/{comment['id']}"
    assert user.get(path).json()["text"] == text
    user.put(path, json={"text": TEXT})
    assert user.put(path, json={"text": text}).json()["text"] == text


@all_cases("body", INVALID_BODIES)
def test_invalid_comment_is_not_stored(api: Api, promo_id: str, body: object) -> None:
    """An invalid text or another member is a 400, and no comment is created or counted."""
    user = api.sign_up_user()
    assert user.post(_comments(promo_id), json=body).status_code == 400
    assert (_list(user, promo_id), _count(user, promo_id)) == (([], 0), 0)


@all_cases("body", INVALID_BODIES)
def test_invalid_change(api: Api, promo_id: str, body: object) -> None:
    """An invalid text or another member is a 400, and the comment is unchanged."""
    user = api.sign_up_user()
    comment = _write(user, promo_id)
    path = f"{_comments(promo_id)}/{comment['id']}"
    assert user.put(path, json=body).status_code == 400
    assert user.get(path).json() == comment


def test_newest_first_in_pages(api: Api, promo_id: str) -> None:
    """Comments of all users are listed newest first. The total counts all of them on every page."""
    users = [api.sign_up_user(), api.sign_up_user()]
    ids = [_write(users[n % 2], promo_id)["id"] for n in range(12)][::-1]
    user = users[0]
    assert _list(user, promo_id) == (ids[:10], 12)
    assert _list(user, promo_id, limit=3, offset=2) == (ids[2:5], 12)
    assert _list(user, promo_id, limit=100, offset=11) == (ids[11:], 12)
    assert _list(user, promo_id, offset=12) == ([], 12)
    assert _list(user, promo_id, limit=0) == ([], 12)


def test_page_has_at_most_100(api: Api, promo_id: str) -> None:
    """A page has at most 100 comments, even if the limit is higher."""
    user = api.sign_up_user()
    ids = [_write(user, promo_id)["id"] for _ in range(101)][::-1]
    assert _list(user, promo_id, limit=1000) == (ids[:100], 101)
    assert _list(user, promo_id, limit=1000, offset=100) == (ids[100:], 101)


def test_change_replaces_only_the_text(api: Api, promo_id: str) -> None:
    """A change keeps the id, the date, the author and the position in the list."""
    user = api.sign_up_user()
    first, second = _write(user, promo_id), _write(user, promo_id)
    path = f"{_comments(promo_id)}/{first['id']}"
    changed = first | {"text": OTHER_TEXT}
    assert user.put(path, json={"text": OTHER_TEXT}).json() == changed
    assert user.get(path).json() == changed
    assert user.get(_comments(promo_id)).json() == [second, changed]


def test_deleted_comment(api: Api, promo_id: str) -> None:
    """A deleted comment is a 404, and is neither listed nor counted."""
    user = api.sign_up_user()
    other, deleted = _write(user, promo_id), _write(user, promo_id)
    path = f"{_comments(promo_id)}/{deleted['id']}"
    assert user.delete(path).json() == {"status": "ok"}
    assert [user.get(path).status_code, user.delete(path).status_code] == [404, 404]
    assert user.put(path, json={"text": OTHER_TEXT}).status_code == 404
    assert (_list(user, promo_id), _count(user, promo_id)) == (([other["id"]], 1), 1)


def test_only_the_author_can_change_and_delete(api: Api, promo_id: str) -> None:
    """Another user can read a comment, but neither change nor delete it."""
    author, other = api.sign_up_user(), api.sign_up_user()
    comment = _write(author, promo_id)
    path = f"{_comments(promo_id)}/{comment['id']}"
    assert other.put(path, json={"text": OTHER_TEXT}).status_code == 403
    assert other.delete(path).status_code == 403
    assert other.get(path).json() == comment
    assert _count(other, promo_id) == 1


def test_comment_under_another_promo(api: Api, promo_id: str) -> None:
    """A comment is a 404 under the id of another promo, and under an unknown id, even for its author."""
    author, other = api.sign_up_user(), api.sign_up_user()
    comment = _write(author, promo_id)
    for elsewhere in (api.sign_up_company().create_promo(), str(uuid4())):
        path = f"{_comments(elsewhere)}/{comment['id']}"
        for user in (author, other):
            assert user.get(path).status_code == 404
            assert user.put(path, json={"text": OTHER_TEXT}).status_code == 404
            assert user.delete(path).status_code == 404
    assert author.get(_comments(promo_id)).json() == [comment]


def test_unknown_promo(api: Api) -> None:
    """Writing and listing comments of an unknown promo is a 404."""
    user, path = api.sign_up_user(), _comments(str(uuid4()))
    assert user.post(path, json={"text": TEXT}).status_code == 404
    assert [user.get(path).status_code, user.get(f"{path}?limit=0").status_code] == [404, 404]


def test_body_is_validated_first(api: Api, promo_id: str) -> None:
    """An invalid text is a 400, even if the comment is unknown or belongs to another user."""
    author, other = api.sign_up_user(), api.sign_up_user()
    path = f"{_comments(promo_id)}/{_write(author, promo_id)['id']}"
    assert other.put(path, json={"text": "short"}).status_code == 400
    assert other.put(f"{_comments(promo_id)}/{uuid4()}", json={"text": "short"}).status_code == 400
    assert other.post(_comments(str(uuid4())), json={"text": "short"}).status_code == 400


@pytest.mark.parametrize("changes", [{"target": {"country": "fr"}}, {"max_count": 0}, {"active_until": "2020-01-01"}])
def test_any_promo_can_be_commented_on(api: Api, changes: dict[str, Any]) -> None:
    """A user can comment on any promo, also on one that is inactive or targets others."""
    user, promo_id = api.sign_up_user(), api.sign_up_company().create_promo(**changes)
    comment = _write(user, promo_id)
    assert _list(user, promo_id) == ([comment["id"]], 1)


def test_comments_of_two_promos(api: Api, promo_id: str) -> None:
    """A comment is listed and counted at its promo, and at no other."""
    user, other_id = api.sign_up_user(), api.sign_up_company().create_promo()
    comment = _write(user, promo_id)
    assert (_list(user, promo_id), _count(user, promo_id)) == (([comment["id"]], 1), 1)
    assert (_list(user, other_id), _count(user, other_id)) == (([], 0), 0)
