"""Query plans of filtered lists: with many promos, an index selects the promos of a company, of a user or of words."""

from datetime import UTC, date, datetime
from functools import partial
from re import fullmatch
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection

from persistence.accounts.users import User
from persistence.feeds.feed_filters import FeedFilters
from persistence.feeds.user_promos import list_filtered_promos
from persistence.promos.promo_words import list_promos_without_words
from persistence.promos.promos import list_promos
from tests.integration.persistence.plans import nodes_of, plan_of, scans_of, tables_read

_TODAY = date(2025, 6, 1)
_COMPANY, _LARGE_COMPANY, _PROMO = (UUID(int=number) for number in (1, 101, 777))


def _sequential(scans: set[tuple[str, str]]) -> set[str]:
    return {table for table, index in scans if not index} & {"promos", "promo_counters"}


# By filters of a company's list: the indexes that select its promos.
_COMPANY_FILTERS: list[tuple[dict[str, Any], str]] = [
    ({"search": "desc kind7"}, "promos_search"),
    ({"search": "desc", "states": ["active"], "mode": "COMMON", "countries": ["ru"]}, "promos_search"),
    ({"search": "desc", "states": ["archived"]}, "promos_search"),
    ({"states": ["active", "paused"]}, "promos_(company|country)_.*_listed"),
    ({"mode": "UNIQUE", "countries": ["ru"]}, "promos_(company|country)_.*_listed"),
    ({"states": ["archived"]}, "promos_company_(archived|active_until)"),
    ({"states": ["archived", "active"]}, "promos_(company|country)_.*"),
]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("filters", "indexes"), _COMPANY_FILTERS)
@pytest.mark.parametrize("sort_by", [None, "active_until"])
def test_filtered_company_list(
    connection: Connection, sort_by: str | None, filters: dict[str, Any], indexes: str, after: bool
) -> None:
    """A filtered list of a company reads promos by an index of the company, or of words, and no table as a whole."""
    key = [datetime(2025, 1, 1, tzinfo=UTC), _PROMO]
    page = partial(list_promos, **filters, sort_by=sort_by, limit=10)
    after_key = ([date(2025, 1, 1), *key] if sort_by else key) if after else None
    plan = plan_of(connection, lambda: page(connection, _LARGE_COMPANY, _TODAY, after=after_key))
    scans = set(tables_read(plan))
    assert _sequential(scans) == set()
    used = {name for _, name in scans} - {"promos_pk", "promo_counters_pk"}
    assert used
    assert [name for name in used if not fullmatch(indexes, name)] == []


def test_search_of_a_company_reads_its_matches_only(connection: Connection) -> None:
    """A search for a word of all promos reads those of the company, 200 of 50,000, once."""
    page = partial(list_promos, connection, _COMPANY, _TODAY, search="description", sort_by=None, limit=10)
    assert page().total == 200
    nodes = list(nodes_of(plan_of(connection, page, analyze=True)))
    assert [node["Actual Rows"] for node in nodes if node.get("Index Name") == "promos_search"] == [200]
    assert max(node["Actual Rows"] for node in nodes) == 200


# By filters of a feed: the index that selects its promos.
_FEED_FILTERS: list[tuple[dict[str, Any], str]] = [
    ({"search": "kind7"}, "promos_search"),
    ({"search": "desc kind7", "category": "kind7", "active": True}, "promos_search"),
    ({"company_id": _LARGE_COMPANY}, "promos_(company|country)_.*_listed"),
    ({"company_id": _LARGE_COMPANY, "search": "kind7", "active": False}, "promos_(company|country)_.*_listed"),
    ({"is_liked": True}, "likes_user"),
    ({"is_liked": True, "company_id": _LARGE_COMPANY, "search": "kind7", "active": True}, "likes_user"),
]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("filters", "indexes"), _FEED_FILTERS)
def test_filtered_feed(connection: Connection, user: User, filters: dict[str, Any], indexes: str, after: bool) -> None:
    """A filtered feed reads promos by the words, the company or the likes, and no table as a whole."""
    key = (datetime(2025, 1, 1, tzinfo=UTC), _PROMO) if after else None
    page = partial(list_filtered_promos, filters=FeedFilters(**filters), limit=10, after=key)
    scans = scans_of(connection, lambda: page(connection, user, _TODAY))
    assert _sequential(scans) == set()
    selecting = {name for _, name in scans if fullmatch("promos_.*", name)} - {"promos_pk"}
    if filters.get("is_liked"):
        selecting |= {name for _, name in scans if name == "likes_user"}
    assert selecting
    assert [name for name in selecting if not fullmatch(indexes, name)] == []


def test_promos_without_words(connection: Connection) -> None:
    """The sweeper finds promos without search words by their index."""
    scans = scans_of(connection, lambda: list_promos_without_words(connection, limit=100))
    assert scans == {("promos", "promos_without_words")}
