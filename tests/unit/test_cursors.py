"""Cursors: only cursors exactly as issued, for the same list, are valid."""

from datetime import UTC, date, datetime
from string import ascii_letters, digits
from typing import Any
from uuid import UUID

import pytest

from promo_api.errors import InvalidInput
from promo_api.security.cursors import Cursors, ListCursors
from tests.cases import all_cases

KEY, OTHER_KEY = "a key for tests " * 3, "another key for tests " * 3
ACCOUNT, PROMO = UUID(int=1), UUID(int=2)
CREATED_AT = datetime(2025, 1, 16, 12, 30, 5, 123456, UTC)
POSITION = [date(2025, 1, 10), CREATED_AT, PROMO]
_FILTERS = {"sort_by": "active_from", "country": ["ru", "fr"]}


def _list(*keys: str, **filters: Any) -> ListCursors:
    return Cursors(keys or (KEY,)).of_list("business_promos.list_promos", ACCOUNT, filters or _FILTERS)


def _is_refused(cursors: ListCursors, cursor: str) -> bool:
    try:
        cursors.read(cursor)
    except InvalidInput as error:
        [violation] = error.violations
        return (error.code, violation.location, violation.pointer) == ("invalid_cursor", "query", "/cursor")
    return False


def _issue(cursors: ListCursors, position: Any = POSITION) -> str:
    cursor = cursors.issue(position)
    assert cursor is not None
    return cursor


@pytest.mark.parametrize(
    ("position", "read"),
    [
        ([7], (7,)),
        ([None, CREATED_AT, PROMO], (None, CREATED_AT.isoformat(), str(PROMO))),
        (POSITION, ("2025-01-10", CREATED_AT.isoformat(), str(PROMO))),
    ],
)
def test_round_trip(position: list[Any], read: tuple[Any, ...]) -> None:
    """Reading a cursor returns its key, with dates and ids as texts."""
    assert _list().read(_issue(_list(), position)) == read


def test_no_cursor() -> None:
    """No key is no cursor, and the reverse."""
    assert _list().issue(None) is None
    assert _list().read(None) is None


def test_form() -> None:
    """The longest cursor has the characters and the length that api.yml states, and shows no account."""
    longest = [date.max, datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1)]
    cursor = _issue(_list(), longest)
    assert len(cursor) <= 180
    assert {*cursor} <= {*ascii_letters, *digits, "-", "_"}


def test_changed_cursors() -> None:
    """A cursor with one other character, or without its end, is refused."""
    cursor = _issue(_list())
    for place in range(len(cursor)):
        for character in {"A", "b", "-", "7"} - {cursor[place]}:
            assert _is_refused(_list(), cursor[:place] + character + cursor[place + 1 :])
        assert _is_refused(_list(), cursor[:place])


@all_cases("text", ["", "A", "AA", "=", "null", "a" * 180, "é", "\ud800", "A" * 21 + "=", "%41", "_" * 40])
def test_other_texts(text: str) -> None:
    """Any other text is refused."""
    assert _is_refused(_list(), text)
    assert _is_refused(_list(), _issue(_list()) + text) == bool(text)


def test_keys() -> None:
    """Cursors of all keys are valid, so that new keys break no walk; those of other keys are not."""
    cursor = _issue(_list(KEY))
    assert not _is_refused(_list(OTHER_KEY, KEY), cursor)
    assert _is_refused(_list(OTHER_KEY), cursor)
    assert _is_refused(_list(KEY), _issue(_list(OTHER_KEY, KEY)))


@pytest.mark.parametrize(
    "other",
    [
        ("business_promos.list_changes", ACCOUNT, _FILTERS),
        ("business_promos.list_promos", PROMO, _FILTERS),
        ("business_promos.list_promos", ACCOUNT, {}),
        ("business_promos.list_promos", ACCOUNT, {**_FILTERS, "sort_by": "active_until"}),
        ("business_promos.list_promos", ACCOUNT, {**_FILTERS, "country": ["fr", "ru"]}),
        ("business_promos.list_promos", ACCOUNT, {**_FILTERS, "country": ["ru,fr"]}),
    ],
)
def test_other_lists(other: tuple[str, UUID, dict[str, Any]]) -> None:
    """A cursor of another operation, account or filter is refused."""
    assert _is_refused(Cursors([KEY]).of_list(*other), _issue(_list()))


def test_order_of_filters() -> None:
    """The order in which a program passes the filters does not matter."""
    cursor = _issue(_list())
    assert not _is_refused(_list(**dict(reversed(_FILTERS.items()))), cursor)
