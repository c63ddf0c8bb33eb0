"""Feeds during concurrent changes of promos, activations and merges of counts: always equal to the promos."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, select

from persistence.activations import Claim, claim_values
from persistence.database.engine import Database
from persistence.feeds.feed_counts import count_feed, count_mismatched_feed_counts, update_feed_counts
from persistence.feeds.feed_index import count_mismatched_feed_entries
from persistence.feeds.feed_status import update_feed_status
from persistence.feeds.user_promos import list_feed_promos
from persistence.schema.feed_tables import feed_entries
from persistence.schema.tables import promo_counters, users
from promo_api.runtime import Runtime
from promo_api.sweeper import category_keys_sweeper
from tests.accounts import Account, Api
from tests.integration.persistence.feeds import TODAY, Viewer, fitting, list_all, store_earlier_keys
from tests.race.interleaving import Stage, together

_TARGETS: list[dict[str, Any]] = [
    {"country": "bt", "categories": ["race"]},
    {"age_from": 30, "age_until": 30, "categories": ["race", "RACE", "other"]},
    {"country": "BT", "age_until": 29},
    {"country": "la", "age_from": 31},
]


def _assert_exact(database: Database) -> None:
    """Assert, in one snapshot, that totals, pages and stored counts equal the promos."""
    with database.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        rows = list_all(connection)
        for age, country, category, active in (
            (30, "bt", None, None),
            (30, "la", "race", None),
            (29, "bt", None, True),
            (31, "la", None, False),
            (30, "bt", "race", True),
        ):
            viewer = Viewer(age, country)
            filters = {"category": category, "active": active}
            expected = fitting(rows, viewer, TODAY, category, active)
            assert count_feed(connection, viewer, TODAY, **filters) == len(expected)
            listed = list_feed_promos(
                connection, viewer, TODAY, **filters, total=len(expected), limit=len(expected) + 1
            )
            assert [promo.promo_id for promo in listed.entries] == expected
        assert (count_mismatched_feed_counts(connection), count_mismatched_feed_entries(connection)) == (0, 0)


def _merge_counts(database: Database) -> None:
    with database.autocommit() as connection:
        update_feed_counts(connection, limit=5)


def _update_standings(database: Database, distance: int = 0, limit: int = 5) -> int:
    with database.transaction() as connection:
        return update_feed_status(connection, TODAY + timedelta(distance), limit=limit)


def _change(company: Account, promo_id: str, number: int) -> None:
    body = {"target": _TARGETS[number % 4], "max_count": 1 + number % 5, "active_until": "2026-03-17"}
    assert company.patch(f"/business/promo/{promo_id}", json=body).status_code in (200, 400)


def _create(company: Account, number: int) -> None:
    company.create_promo(target=_TARGETS[number % 4], max_count=number % 2)


def _repeated(job: Callable[..., object], *arguments: Any, times: int) -> Callable[[], None]:
    def repeat() -> None:
        for number in range(times):
            job(*arguments, *([number] if job in (_change, _create) else []))

    return repeat


def test_totals_are_exact_at_any_time(api: Api, runtime: Runtime) -> None:
    """While promos are created, changed and used up, and counts are merged, every reader gets exact totals."""
    company, user = api.sign_up_company(), api.sign_up_user(country="bt", age=30)
    ids = [company.create_promo(target=target, max_count=2) for target in _TARGETS]
    jobs = [_repeated(_create, company, times=12) for _ in range(2)]
    jobs += [_repeated(_change, company, promo_id, times=10) for promo_id in ids + ids[:2]]
    jobs += [_repeated(user.post, f"/user/promo/{promo_id}/activate", times=12) for promo_id in ids]
    jobs += [_repeated(_merge_counts, runtime.database, times=30) for _ in range(2)]
    jobs += [_repeated(_update_standings, runtime.database, distance, times=30) for distance in (-1, 0, 1)]
    jobs += [_repeated(_assert_exact, runtime.database, times=10) for _ in range(3)]
    together(jobs)
    _assert_exact(runtime.database)


@pytest.mark.parametrize("change_first", [True, False])
def test_last_use_while_the_target_changes(api: Api, runtime: Runtime, stage: Stage, change_first: bool) -> None:
    """The last activation and a change of the target leave exact totals in either order; the later sees the other."""
    company, user = api.sign_up_company(), api.sign_up_user(country="bt", age=30)
    promo_id = company.create_promo(target={"country": "bt"}, max_count=1)
    change = partial(company.patch, f"/business/promo/{promo_id}", json={"target": {"country": "la"}})
    use = partial(user.post, f"/user/promo/{promo_id}/activate")
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(*((change, use) if change_first else (use, change)))
    assert [response.status_code for response in queue.results()] == [200, 403 if change_first else 200]
    _assert_exact(runtime.database)


def test_waiting_changes_of_a_target(api: Api, runtime: Runtime, stage: Stage) -> None:
    """Each of several changes removes the feed entries of the previous change, not those before it."""
    company = api.sign_up_company()
    promo_id = company.create_promo(target={"country": "bt"})
    changes = [
        partial(company.patch, f"/business/promo/{promo_id}", json={"target": {"country": country}})
        for country in ("la", "zw", "bt")
    ]
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(*changes)
    assert [response.status_code for response in queue.results()] == [200] * 3
    _assert_exact(runtime.database)


def _standings(database: Database, promo_id: str) -> set[str | None]:
    standings = select(feed_entries.c.status).where(feed_entries.c.promo_id == UUID(promo_id))
    with database.autocommit() as connection:
        return set(connection.scalars(standings))


def _claim(connection: Connection, promo_id: UUID, runtime: Runtime) -> None:
    user_id = connection.scalars(select(users.c.id).where(users.c.country_key == "bt").limit(1)).one()
    assert claim_values(connection, promo_id, [Claim(uuid4(), user_id, "bt", 30)], runtime.today())


@pytest.mark.parametrize("change_first", [True, False])
def test_last_use_while_max_count_grows(api: Api, runtime: Runtime, stage: Stage, change_first: bool) -> None:
    """Of the last activation and a raise of max_count, the later one decides the standing."""
    company, user = api.sign_up_company(), api.sign_up_user(country="bt", age=30)
    promo_id = company.create_promo(target={"country": "bt"}, max_count=1)
    change = partial(company.patch, f"/business/promo/{promo_id}", json={"max_count": 2})
    use = partial(user.post, f"/user/promo/{promo_id}/activate")
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(*((change, use) if change_first else (use, change)))
    assert [response.status_code for response in queue.results()] == [200, 200]
    assert _standings(runtime.database, promo_id) == {"live"}
    _assert_exact(runtime.database)


def test_last_use_waits_for_a_change(api: Api, runtime: Runtime, stage: Stage) -> None:
    """The last activation marks entries that a change has inserted while the claim waited."""
    company, user = api.sign_up_company(), api.sign_up_user(country="bt", age=30)
    promo_id = company.create_promo(target={"country": "bt"}, max_count=1)
    body = {"target": {"country": "bt", "categories": ["race"]}}
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(
            partial(company.patch, f"/business/promo/{promo_id}", json=body),
            partial(user.post, f"/user/promo/{promo_id}/activate"),
        )
    assert [response.status_code for response in queue.results()] == [200, 200]
    assert _standings(runtime.database, promo_id) == {"exhausted"}
    _assert_exact(runtime.database)


def test_last_use_while_the_feed_is_read(api: Api, runtime: Runtime) -> None:
    """A feed lists the promo until its last activation is committed."""
    company = api.sign_up_company()
    api.sign_up_user(country="bt", age=30)
    promo_id = UUID(company.create_promo(target={"country": "bt"}, max_count=1))

    def is_listed() -> bool:
        with runtime.database.autocommit() as connection:
            listed = list_feed_promos(
                connection, Viewer(30, "bt"), runtime.today(), category=None, active=True, total=9, limit=1
            )
        return [promo.promo_id for promo in listed.entries] == [promo_id]

    with runtime.database.transaction() as connection:
        _claim(connection, promo_id, runtime)
        assert is_listed()
    assert not is_listed()


def test_update_skips_locked_entries(api: Api, runtime: Runtime) -> None:
    """The update of standings does not wait for a claim of the last activation, and does not revert its mark."""
    company = api.sign_up_company()
    api.sign_up_user(country="bt", age=30)
    promo_id = company.create_promo(target={"country": "bt"}, max_count=1, active_until="2036-03-17")
    distance = 3653
    with runtime.database.transaction() as connection:
        _claim(connection, UUID(promo_id), runtime)
        _update_standings(runtime.database, distance, limit=1000)
        assert _standings(runtime.database, promo_id) == {"live"}
    _update_standings(runtime.database, distance, limit=1000)
    assert _standings(runtime.database, promo_id) == {"exhausted"}
    _assert_exact(runtime.database)


@pytest.mark.parametrize("is_change", [True, False])
def test_request_waits_for_an_update(api: Api, runtime: Runtime, stage: Stage, is_change: bool) -> None:
    """The last activation, or a change, that waits for an update of standings overrides it."""
    company, user = api.sign_up_company(), api.sign_up_user(country="bt", age=30)
    promo_id = company.create_promo(target={"country": "bt"}, max_count=1, active_until="2036-03-17")
    change = partial(company.patch, f"/business/promo/{promo_id}", json={"active_until": "2037-03-17"})
    use = partial(user.post, f"/user/promo/{promo_id}/activate")
    with stage.queue() as queue, runtime.database.transaction() as connection:
        update_feed_status(connection, TODAY + timedelta(3653), limit=1000)
        queue.add(change if is_change else use)
        connection.commit()
        assert [response.status_code for response in queue.results()] == [200]
    assert _standings(runtime.database, promo_id) == {"live" if is_change else "exhausted"}
    _assert_exact(runtime.database)


@pytest.mark.parametrize("is_change", [True, False])
@pytest.mark.parametrize("sweep_first", [True, False])
def test_category_keys_are_computed_again(
    api: Api, runtime: Runtime, stage: Stage, is_change: bool, sweep_first: bool
) -> None:
    """New category keys of an earlier promo, and its last activation or a change, leave exact totals in any order."""
    company, user = api.sign_up_company(), api.sign_up_user(country="bt", age=30)
    promo_id = company.create_promo(target={"country": "bt", "categories": ["rac\u0131ng", "race"]}, max_count=1)
    with runtime.database.transaction() as connection:
        store_earlier_keys(connection, UUID(promo_id))
    sweeper = category_keys_sweeper(runtime.database, lambda: TODAY)
    body = {"target": {"country": "bt", "categories": ["R\u0130DING"]}}
    use = partial(user.post, f"/user/promo/{promo_id}/activate")
    request = partial(company.patch, f"/business/promo/{promo_id}", json=body) if is_change else use
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(*((sweeper.sweep, request) if sweep_first else (request, sweeper.sweep)))
    results = queue.results()
    assert results[sweep_first].status_code == 200
    assert _standings(runtime.database, promo_id) == {"live" if is_change else "exhausted"}
    with runtime.database.autocommit() as connection:
        keys = connection.scalars(select(feed_entries.c.category_key).where(feed_entries.c.promo_id == UUID(promo_id)))
        assert set(keys) == ({"", "riding"} if is_change else {"", "racing", "race"})
    _assert_exact(runtime.database)
