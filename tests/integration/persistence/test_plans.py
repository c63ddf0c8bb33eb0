"""Query plans: with many promos, requests use indexes and never scan a whole table."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import partial
from re import findall
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, text

from persistence.accounts.deletion import _STEPS, _HandOver
from persistence.accounts.exports import (
    list_likes,
    list_own_comments,
    list_own_events,
    list_own_keys,
)
from persistence.accounts.own_activations import list_activations, list_own_activations
from persistence.accounts.users import User
from persistence.activations import Claim, claim_values, find_refusal_reasons, list_country_uses
from persistence.comment_reports import insert_report
from persistence.comments import delete_any_comment, insert_comment, list_comments
from persistence.database.engine import Database
from persistence.feeds.feed_counts import count_feed
from persistence.feeds.feed_index import delete_feed_entries, insert_feed_entries, list_outdated_promos
from persistence.feeds.feed_status import update_feed_status
from persistence.feeds.user_promos import (
    find_promo_for_user,
    list_feed_promos,
    list_history_promos,
)
from persistence.likes import delete_like, insert_like
from persistence.promos.changes import insert_change, list_changes
from persistence.promos.code_lists import CodeLists
from persistence.promos.promos import find_category_keys, find_promo, list_promos
from tests.integration.persistence.plans import nodes_of, plan_of, scans_of, tables_read

_TODAY = date(2025, 6, 1)
_COMPANY, _LARGE_COMPANY, _USER, _PROMO = (UUID(int=number) for number in (1, 101, 1, 777))
_BIG = {
    "promos", "promo_counters", "promo_codes", "activations", "country_uses", "user_uses", "likes", "comments",
    "company_promo_counts", "feed_entries", "feed_tallies", "promo_changes", "account_events", "account_log",
}  # fmt: skip


def _sequential(scans: set[tuple[str, str]]) -> set[str]:
    return {table for table, index in scans if not index} & _BIG


@pytest.mark.parametrize("offset", [0, 1000, 49_990])
@pytest.mark.parametrize("category", [None, "Kind7", "nothing"])
@pytest.mark.parametrize("active", [None, True, False])
def test_feed_page(many_promos: Database, user: User, active: bool | None, category: str | None, offset: int) -> None:
    """A feed page is read in index order and not sorted, except the dated entries of active promos."""
    page = partial(list_feed_promos, category=category, active=active, total=50_000, limit=10, offset=offset)
    with many_promos.engine.connect() as connection:
        # The worst case, until the end of the transaction: VACUUM has not run.
        connection.exec_driver_sql("UPDATE pg_class SET relallvisible = 0 WHERE relname = 'feed_entries'")
        plan = plan_of(connection, lambda: page(connection, user, _TODAY))
    [merged] = [node for node in nodes_of(plan) if node["Node Type"] == "Merge Append"]
    parts = merged["Plans"]
    if active:
        [dated] = [part for part in parts if ("feed_entries", "feed_entries_dated") in set(tables_read(part))]
        assert set(tables_read(dated)) == {("feed_entries", "feed_entries_dated")}
        parts.remove(dated)
    index = "feed_entries_live" if active else "feed_entries_pk"
    for part in parts:
        assert set(tables_read(part)) - {("promo_counters", "promo_counters_pk")} == {("feed_entries", index)}
        assert not {node["Node Type"] for node in nodes_of(part)} & {"Sort", "Incremental Sort"}
    assert _sequential(set(tables_read(plan))) == set()


@pytest.mark.parametrize("category", [None, "Kind7"])
@pytest.mark.parametrize("active", [None, True, False])
def test_feed_total(connection: Connection, user: User, active: bool | None, category: str | None) -> None:
    """The total of a feed reads the feed counts of its category, country and days, and no promo."""
    scans = scans_of(connection, lambda: count_feed(connection, user, _TODAY, category=category, active=active))
    assert {("feed_tallies", "feed_tallies_pk"), ("bitmap", "feed_tallies_pk")} & scans
    assert _sequential(scans) == set()
    assert not {"promos", "promo_counters", "feed_entries"} & {table for table, _ in scans}


@pytest.mark.parametrize("company_id", [_COMPANY, _LARGE_COMPANY])
@pytest.mark.parametrize("countries", [None, ["RU"], ["ru", "fr", "it"]])
@pytest.mark.parametrize("sort_by", [None, "active_from", "active_until"])
def test_company_page(
    connection: Connection, company_id: UUID, sort_by: str | None, countries: list[str] | None
) -> None:
    """A page of a company's promos is read in index order, for each requested country."""
    page = partial(list_promos, countries=countries, sort_by=sort_by, limit=10, offset=0)
    scans = scans_of(connection, lambda: page(connection, company_id, _TODAY))
    assert scans == {
        ("promos", f"promos_{'company' if countries is None else 'country'}_{sort_by or 'newest'}_listed"),
        ("promos", "promos_pk"),
        ("promo_counters", "promo_counters_pk"),
    }


@pytest.mark.parametrize("countries", [None, ["RU"]])
def test_company_total(connection: Connection, countries: list[str] | None) -> None:
    """The total of a company's promos is read from the counts of the company."""
    page = partial(list_promos, countries=countries, sort_by=None, limit=0, offset=0)
    scans = scans_of(connection, lambda: page(connection, _COMPANY, _TODAY))
    assert {index for _, index in scans} == {"company_promo_counts_pk"}
    assert page(connection, _LARGE_COMPANY, _TODAY).total == (30_000 if countries is None else 15_000)


def test_first_codes(connection: Connection) -> None:
    """The first codes of promos are read by the primary key."""
    scans = scans_of(connection, lambda: CodeLists(0).find_lists(connection, [_PROMO, _COMPANY], first=100))
    assert scans == {("promos", "promos_pk"), ("bitmap", "promo_codes_pk")}


def test_history_page(connection: Connection) -> None:
    """A page of the history is read in index order."""
    scans = scans_of(connection, lambda: list_history_promos(connection, _USER, _TODAY, limit=10, offset=0))
    assert ("activations", "activations_history") in scans
    assert _sequential(scans) == set()


def test_history_total(connection: Connection) -> None:
    """The total of the history is read from the counts of the user."""
    scans = scans_of(connection, lambda: list_history_promos(connection, _USER, _TODAY, limit=0, offset=0))
    assert scans == {("user_uses", "user_uses_pk")}


# By list: the index that selects its pages, the list, and an offset in its second half.
_PAGES: dict[str, tuple[str, Callable[..., Any], int]] = {
    "comments": ("comments_newest", lambda connection, **page: list_comments(connection, _PROMO, **page), 6),
    "history": (
        "activations_history",
        lambda connection, **page: list_history_promos(connection, _USER, _TODAY, **page),
        40,
    ),
    "activations": ("activations_history", lambda connection, **page: list_activations(connection, _USER, **page), 40),
    **{
        f"promos by {sort_by}": (
            f"promos_company_{sort_by or 'newest'}_listed",
            partial(
                lambda connection, sort_by, **page: list_promos(
                    connection, _LARGE_COMPANY, _TODAY, countries=None, sort_by=sort_by, **page
                ),
                sort_by=sort_by,
            ),
            29_000,
        )
        for sort_by in (None, "active_from", "active_until")
    },
}
_PORTIONS: dict[str, Callable[..., Any]] = {
    "likes_user": list_likes,
    "comments_author": list_own_comments,
    "activations_history": list_own_activations,
    "kept_answers_pk": list_own_keys,
}


def _assert_selected_by_index(plan: dict[str, Any], index: str, *, backward: bool) -> None:
    [limit] = [node for node in nodes_of(plan) if node["Node Type"] == "Limit"]
    [scan] = [part for part in limit["Plans"] if part["Parent Relationship"] == "Outer"]
    assert (scan["Node Type"], scan["Index Name"]) == ("Index Only Scan", index)
    assert scan["Scan Direction"] == ("Backward" if backward else "Forward")
    assert "Filter" not in scan
    assert _sequential(set(tables_read(plan))) == set()


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("name", _PAGES)
def test_page_is_selected_by_index(many_promos: Database, name: str, deep: bool) -> None:
    """An index-only scan from the nearer end selects a page, before any join."""
    index, page, offset = _PAGES[name]
    with many_promos.engine.connect() as connection:
        plan = plan_of(connection, lambda: page(connection, limit=5, offset=offset if deep else 0))
    _assert_selected_by_index(plan, index, backward=deep)


def _ranges_after_a_key(plan: dict[str, Any]) -> list[str]:
    """Return the indexes that a plan reads from a key on; no other read may compare with the key."""
    nodes = list(nodes_of(plan))
    assert [node for node in nodes if "ROW(" in node.get("Filter", "")] == []
    assert _sequential(set(tables_read(plan))) == set()
    return [node["Index Name"] for node in nodes if "ROW(" in node.get("Index Cond", "")]


@pytest.mark.parametrize("name", _PAGES)
def test_page_after_a_key(connection: Connection, name: str) -> None:
    """A page after a key is one range of an index, or two if promos with and without a date are apart."""
    index, page, _ = _PAGES[name]
    key = page(connection, limit=3).next_key
    plan = plan_of(connection, lambda: page(connection, limit=3, after=key))
    assert _ranges_after_a_key(plan) == [index] * (2 if "active_" in name else 1)


@pytest.mark.parametrize("sort_by", [None, "active_from", "active_until"])
def test_page_of_countries_after_a_key(connection: Connection, sort_by: str | None) -> None:
    """A page of a company's promos for some countries begins at the key in the index of each country."""
    page = partial(list_promos, countries=["ru", "fr"], sort_by=sort_by, limit=5)
    key = page(connection, _LARGE_COMPANY, _TODAY).next_key
    plan = plan_of(connection, lambda: page(connection, _LARGE_COMPANY, _TODAY, after=key))
    assert _ranges_after_a_key(plan) == [f"promos_country_{sort_by or 'newest'}_listed"] * (2 if sort_by else 1)


@pytest.mark.parametrize("category", [None, "Kind7"])
@pytest.mark.parametrize("active", [None, True, False])
def test_feed_page_after_a_key(connection: Connection, user: User, active: bool | None, category: str | None) -> None:
    """A page of a feed after a key begins at the key in the index of each part."""
    page = partial(list_feed_promos, category=category, active=active, total=50_000, limit=5)
    key = (datetime(2025, 1, 1, tzinfo=UTC), _PROMO)
    plan = plan_of(connection, lambda: page(connection, user, _TODAY, after=key))
    expected = ["feed_entries_live"] * 2 + ["feed_entries_dated"] if active else ["feed_entries_pk"] * 2
    assert _ranges_after_a_key(plan) == expected


def test_deep_page_after_a_key_reads_few_rows(connection: Connection) -> None:
    """A page in the middle of a list of 30,000 promos reads as many rows as its limit, and one more for each range."""
    for sort_by in (None, "active_from", "active_until"):
        page = partial(list_promos, connection, _LARGE_COMPANY, _TODAY, countries=None, sort_by=sort_by, limit=10)
        key = page(offset=15_000).next_key
        plan = plan_of(connection, partial(page, after=key), analyze=True)
        index = f"promos_company_{sort_by or 'newest'}_listed"
        read = [node["Actual Rows"] for node in nodes_of(plan) if node.get("Index Name") == index]
        assert sum(read) <= 11 * len(read)


@pytest.mark.parametrize("index", _PORTIONS)
def test_export_portion_is_selected_by_index(many_promos: Database, index: str) -> None:
    """An index-only scan selects a portion of an export, before any join."""
    with many_promos.engine.connect() as connection:
        plan = plan_of(connection, lambda: _PORTIONS[index](connection, _USER, limit=5, offset=3))
    _assert_selected_by_index(plan, index, backward=index == "activations_history")


_EXPORTS = (list_likes, list_own_comments, list_own_activations, list_own_keys)


@pytest.mark.parametrize("listed", _EXPORTS)
def test_export(connection: Connection, listed: Callable[..., Any]) -> None:
    """No statement of an export scans a whole table."""
    scans = scans_of(connection, lambda: listed(connection, _USER, limit=10_000, offset=0))
    assert scans
    assert _sequential(scans) == set()


def test_codes_of_activations(connection: Connection) -> None:
    """The codes of a page of activations are found by their positions, with the primary key of the codes."""
    plan = plan_of(connection, lambda: list_activations(connection, _USER, limit=10, offset=0))
    [scan] = [node for node in nodes_of(plan) if node.get("Index Name") == "promo_codes_pk"]
    assert findall(r"\(\"?(\w+)\"? [=<>]+ ", scan["Index Cond"]) == ["promo_id", "position", "position"]


def _claim(user: User) -> Claim:
    return Claim(uuid4(), user.id, user.country_key, user.age)


_STATEMENTS: dict[str, Callable[[Connection, User], Any]] = {
    "promo for user": lambda connection, user: find_promo_for_user(connection, _PROMO, user.id, _TODAY),
    "promo": lambda connection, _user: find_promo(connection, _PROMO, _TODAY),
    "locked promo": lambda connection, _user: find_promo(connection, _PROMO, _TODAY, locked=True),
    "audit log": lambda connection, _user: list_changes(connection, _PROMO, limit=10, offset=90_000),
    "length of the audit log": lambda connection, _user: list_changes(connection, _PROMO, limit=0, offset=0),
    "change": lambda connection, _user: insert_change(connection, _PROMO, _COMPANY, {}),
    "offer": lambda connection, user: find_refusal_reasons(connection, _PROMO, user, _TODAY),
    "comments": lambda connection, _user: list_comments(connection, _PROMO, limit=10, offset=0),
    "statistics": lambda connection, _user: list_country_uses(connection, _PROMO),
    "promos with outdated keys": lambda connection, _user: list_outdated_promos(connection, after=_USER, limit=100),
    "category keys": lambda connection, _user: find_category_keys(connection, _PROMO),
    "standings": lambda connection, _user: update_feed_status(connection, _TODAY, limit=500),
}


@pytest.mark.parametrize("name", _STATEMENTS)
def test_one_promo(connection: Connection, user: User, name: str) -> None:
    """No statement about one promo scans a whole table."""
    scans = scans_of(connection, lambda: _STATEMENTS[name](connection, user))
    assert scans
    assert _sequential(scans) == set()


def test_events_of_a_user(connection: Connection) -> None:
    """A portion of the events of a user is the first part of two indexes."""
    plan = plan_of(connection, lambda: list_own_events(connection, _USER, limit=5, offset=3))
    assert {index for _, index in tables_read(plan)} == {"account_log_pk", "account_events_user_id"}
    assert [node["Node Type"] for node in nodes_of(plan)].count("Limit") == 3


def test_cascade_of_a_company(connection: Connection) -> None:
    """The foreign key that cascades a changed id of a company uses an index."""
    plan = connection.exec_driver_sql(
        f"EXPLAIN (FORMAT JSON) SELECT FROM account_events WHERE company_id = '{_COMPANY}'"
    ).scalar_one()[0]["Plan"]
    assert {index for _, index in tables_read(plan) if index} == {"account_events_company_id"}


_HAND_OVERS = [step for step in _STEPS if isinstance(step, _HandOver)]
_OWNERS = ["activations_history", "likes_user", "comments_author", "comment_reports_user"]


@pytest.mark.parametrize(("step", "index"), [*zip(_HAND_OVERS, _OWNERS, strict=True)], ids=_OWNERS)
def test_portion_of_a_deletion(connection: Connection, step: _HandOver, index: str) -> None:
    """A portion of a deletion is read by the index of the user, and changed by an index."""
    found = scans_of(connection, lambda: step._find.rows(connection, {"user": _USER}))
    assert {name for _, name in found} == {index}
    assert _sequential(scans_of(connection, lambda: step.count(connection, {"user": _USER}))) == set()


def test_plans_of_frequent_statements(connection: Connection, user: User) -> None:
    """Frequent statements scan no whole table, and use generic plans, because planning takes longer than running."""
    query = text("SELECT sum(seq_scan) FROM pg_stat_user_tables WHERE relname = ANY(:tables)")

    def sequential_scans() -> int:
        connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
        connection.exec_driver_sql("SELECT pg_stat_clear_snapshot()")
        return int(connection.execute(query, {"tables": sorted(_BIG)}).scalar_one())

    before = sequential_scans()
    listed = partial(list_promos, limit=10, offset=0)
    for _ in range(15):
        find_promo_for_user(connection, _PROMO, user.id, _TODAY)
        find_refusal_reasons(connection, _PROMO, user, _TODAY)
        claim_values(connection, _PROMO, [_claim(user)], _TODAY)
        insert_like(connection, _PROMO, user.id, user.country_key)
        delete_like(connection, _PROMO, user.id)
        comment_id = uuid4()
        insert_comment(
            connection, _PROMO, comment_id=comment_id, author_id=user.id, country_key=user.country_key, text="A comment"
        )
        insert_report(connection, _PROMO, comment_id, user_id=_USER, reason="spam")
        delete_any_comment(connection, _PROMO, comment_id)
        delete_feed_entries(connection, _PROMO)
        insert_feed_entries(connection, _PROMO, _TODAY)
        list_history_promos(connection, _USER, _TODAY, limit=10, offset=0)
        list_activations(connection, _USER, limit=10, offset=0)
        list_country_uses(connection, _PROMO)
        for sort_by in (None, "active_from", "active_until"):
            listed(connection, _COMPANY, _TODAY, countries=["ru"], sort_by=sort_by)
            listed(connection, _COMPANY, _TODAY, countries=None, sort_by=sort_by)
        for active in (None, True, False):
            list_feed_promos(connection, user, _TODAY, category=None, active=active, total=9, limit=10, offset=0)
            count_feed(connection, user, _TODAY, category=None, active=active)
        list_comments(connection, _PROMO, limit=10, offset=0)
        list_changes(connection, _PROMO, limit=10, offset=1000)
        update_feed_status(connection, _TODAY, limit=10)
    assert sequential_scans() == before
    prepared = connection.exec_driver_sql("SELECT statement, custom_plans FROM pg_prepared_statements").all()
    assert len(prepared) > 10
    assert [statement for statement, custom_plans in prepared if custom_plans] == []
