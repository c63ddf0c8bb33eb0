"""Walks through lists by their links."""

from collections.abc import Iterator
from re import fullmatch
from typing import Any

from tests.accounts import Account

_BASE_PATH = "/api"
_PAGES_MAX = 200


def walk(account: Account, path: str) -> Iterator[Any]:
    """Yield the response of each page, from the page at `path` to the last. A walk without an end fails."""
    next_path: str | None = path
    for _ in range(_PAGES_MAX):
        response = account.get(next_path)
        assert response.status_code == 200, response.text
        yield response
        next_path = next_page(response)
        if next_path is None:
            return
    raise AssertionError(f"{path} has more than {_PAGES_MAX} pages")


def next_page(response: Any) -> str | None:
    """Return the path of the next page; None if the response is that of the last page."""
    if "X-Next-Cursor" not in response.headers:
        assert "Link" not in response.headers
        return None
    link = fullmatch(rf'<{_BASE_PATH}(/[^<>]*cursor=([^&]*))>; rel="next"', response.headers["Link"])
    assert link is not None
    assert link[2] == response.headers["X-Next-Cursor"]
    return link[1]
