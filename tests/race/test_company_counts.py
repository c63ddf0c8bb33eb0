"""The number of a company's promos: exact at any time, and without blocking."""

from collections.abc import Callable
from datetime import date
from functools import partial
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, select

from persistence.consistency import count_mismatched_company_promos
from persistence.feeds.feed_index import delete_feed_entries, insert_feed_entries
from persistence.promos.promos import insert_promo, list_promos, update_promo
from persistence.schema.tables import company_promo_counts, promo_counters
from promo_api.errors import ServiceUnavailable
from promo_api.runtime import Runtime
from tests.accounts import Account, Api
from tests.race.interleaving import Stage, pid_of, together

_TODAY = date(2025, 6, 1)
_COUNTRIES = ("ru", "fr", None)
_DEFINITION = {
    "mode": "COMMON", "description": "A description", "promo_common": "value", "image_url": None, "country": None,
    "age_from": None, "age_until": None, "categories": None, "active_from": None, "active_until": None,
}  # fmt: skip


def _target(country: str | None) -> dict[str, Any]:
    return {"target": {} if country is None else {"country": country}}


def _total(company: Account, query: str = "") -> int:
    return int(company.get(f"/business/promo?limit=0{query}").headers["x-total-count"])


def _count_parts(runtime: Runtime, company: Account) -> int:
    of_company = select(company_promo_counts).where(company_promo_counts.c.company_id == UUID(company.id))
    with runtime.database.autocommit() as connection:
        return len(connection.execute(of_company).all())


def _assert_consistent(runtime: Runtime) -> None:
    with runtime.database.autocommit() as connection:
        assert count_mismatched_company_promos(connection) == 0


def _insert(connection: Connection, company: Account) -> None:
    promo_id = uuid4()
    insert_promo(connection, promo_id, {**_DEFINITION, "company_id": UUID(company.id)}, _TODAY, use_limit=1, codes=None)


def test_concurrent_creations_and_changes(api: Api, runtime: Runtime) -> None:
    """While promos are created and change their country, the counts by country equal the rows at any time."""
    company = api.sign_up_company()
    ids = [company.create_promo(**_target(country)) for country in _COUNTRIES * 4]
    mismatches: list[int] = []

    def create(number: int) -> None:
        for turn in range(6):
            company.create_promo(**_target(_COUNTRIES[(number + turn) % 3]))

    def change(number: int) -> None:
        random = Random(number)  # noqa: S311 nothing secret
        for _ in range(12):
            changes = _target(random.choice(_COUNTRIES))
            # Few promos, so that concurrent changes meet.
            assert company.patch(f"/business/promo/{random.choice(ids)}", json=changes).status_code == 200

    def check() -> None:
        for _ in range(20):
            with runtime.database.autocommit() as connection:
                mismatches.append(count_mismatched_company_promos(connection))

    jobs = [partial(work, number) for number in range(8) for work in (create, change)]
    together([*jobs, check, check])
    assert mismatches == [0] * 40
    assert _total(company) == 12 + 8 * 6
    _assert_consistent(runtime)
    # At most one partial count per country and concurrent transaction.
    assert _count_parts(runtime, company) <= 3 * 16


def test_no_blocking(api: Api, runtime: Runtime) -> None:
    """A promo that is not committed blocks no other change of its company, and is counted at its commit."""
    company = api.sign_up_company()
    promo_id = company.create_promo()
    with runtime.database.transaction() as connection:
        _insert(connection, company)
        company.create_promo()
        assert company.patch(f"/business/promo/{promo_id}", json=_target("fr")).status_code == 200
        assert (_total(company), _total(company, "&country=fr")) == (2, 2)
    assert (_total(company), _total(company, "&country=it")) == (3, 2)
    _assert_consistent(runtime)


def test_partial_counts_are_reused(api: Api, runtime: Runtime) -> None:
    """Any number of sequential creations needs one partial count."""
    company = api.sign_up_company()
    for _ in range(5):
        company.create_promo(target={"country": "fr"})
    assert _count_parts(runtime, company) == 1


def test_rolled_back_creation_is_not_counted(api: Api, runtime: Runtime, stage: Stage) -> None:
    """A promo whose session is terminated before the commit is not counted."""
    company = api.sign_up_company()
    company.create_promo()

    def insert_and_terminate() -> None:
        with runtime.database.transaction() as connection:
            _insert(connection, company)
            stage.terminate(pid_of(connection))

    with pytest.raises(ServiceUnavailable):
        insert_and_terminate()
    assert _total(company) == 1
    _assert_consistent(runtime)


def test_waiting_changes_of_one_promo(api: Api, runtime: Runtime, stage: Stage) -> None:
    """Each of several changes that wait for a promo is counted from the country of the previous change."""
    company = api.sign_up_company()
    promo_id = company.create_promo(target={"country": "ru"})

    def change(country: str) -> Callable[[], Any]:
        return partial(company.patch, f"/business/promo/{promo_id}", json=_target(country))

    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (holder, queue):
        queue.add(change("fr"), change("it"), change("it"), change("us"))
        new_target = {"country": "de", "age_from": None, "age_until": None, "categories": None}
        delete_feed_entries(holder, UUID(promo_id))
        assert update_promo(holder, UUID(promo_id), new_target)
        insert_feed_entries(holder, UUID(promo_id), _TODAY)
    assert [response.status_code for response in queue.results()] == [200] * 4
    last = company.get(f"/business/promo/{promo_id}").json()["target"]["country"]
    assert {country: _total(company, f"&country={country}") for country in ("ru", "de", "fr", "it", "us")} == {
        country: int(country == last) for country in ("ru", "de", "fr", "it", "us")
    }
    with runtime.database.autocommit() as connection:
        page = list_promos(connection, UUID(company.id), runtime.today(), countries=None, sort_by=None, limit=0)
    assert page.total == 1
    _assert_consistent(runtime)
