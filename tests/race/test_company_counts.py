"""The number of a company's promos: right at every moment, and nobody waits for it."""

from collections.abc import Callable
from datetime import date
from functools import partial
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, select

from persistence.listings import delete_listing, insert_listing
from persistence.promos import insert_promo, list_promos, update_promo
from persistence.recounts import count_wrong_company_promos
from persistence.tables import company_promo_counts, promo_counters
from promo_api.errors import DependencyDown
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


def _parts(runtime: Runtime, company: Account) -> int:
    of_company = select(company_promo_counts).where(company_promo_counts.c.company_id == UUID(company.id))
    with runtime.database.autocommit() as connection:
        return len(connection.execute(of_company).all())


def _assert_recounted(runtime: Runtime) -> None:
    with runtime.database.autocommit() as connection:
        assert count_wrong_company_promos(connection) == 0


def _insert(connection: Connection, company: Account) -> None:
    promo_id = uuid4()
    insert_promo(connection, promo_id, {**_DEFINITION, "company_id": UUID(company.id)}, _TODAY, use_limit=1, codes=None)


def test_created_and_changed_at_once(api: Api, crowd: Runtime) -> None:
    """While promos are made and change their country, the numbers by country are those of the rows, at each look."""
    company = api.sign_up_company()
    ids = [company.create_promo(**_target(country)) for country in _COUNTRIES * 4]
    wrong: list[int] = []

    def create(number: int) -> None:
        for turn in range(6):
            company.create_promo(**_target(_COUNTRIES[(number + turn) % 3]))

    def change(number: int) -> None:
        chance = Random(number)  # noqa: S311 nothing secret
        for _ in range(12):
            changes = _target(chance.choice(_COUNTRIES))
            # Few promos, so that several change the country of one at once.
            assert company.patch(f"/business/promo/{chance.choice(ids)}", json=changes).status_code == 200

    def look() -> None:
        for _ in range(20):
            with crowd.database.autocommit() as connection:
                wrong.append(count_wrong_company_promos(connection))

    jobs = [partial(work, number) for number in range(8) for work in (create, change)]
    together([*jobs, look, look])
    assert wrong == [0] * 40
    assert _total(company) == 12 + 8 * 6
    _assert_recounted(crowd)
    # No more parts for a country than there were transactions at once.
    assert _parts(crowd, company) <= 3 * 16


def test_nobody_waits(api: Api, crowd: Runtime) -> None:
    """Promos are made and changed while another one of the company is being made, which is counted at its commit."""
    company = api.sign_up_company()
    promo_id = company.create_promo()
    with crowd.database.transaction() as connection:
        _insert(connection, company)
        company.create_promo()
        assert company.patch(f"/business/promo/{promo_id}", json=_target("fr")).status_code == 200
        assert (_total(company), _total(company, "&country=fr")) == (2, 2)
    assert (_total(company), _total(company, "&country=it")) == (3, 2)
    _assert_recounted(crowd)


def test_parts_are_used_again(api: Api, crowd: Runtime) -> None:
    """One promo made after the other needs one part, however many they are."""
    company = api.sign_up_company()
    for _ in range(5):
        company.create_promo(target={"country": "fr"})
    assert _parts(crowd, company) == 1


def test_what_was_rolled_back_is_not_counted(api: Api, crowd: Runtime, stage: Stage) -> None:
    """A promo whose connection dies before the commit is in no number."""
    company = api.sign_up_company()
    company.create_promo()

    def insert_and_die() -> None:
        with crowd.database.transaction() as connection:
            _insert(connection, company)
            stage.terminate(pid_of(connection))

    with pytest.raises(DependencyDown):
        insert_and_die()
    assert _total(company) == 1
    _assert_recounted(crowd)


def test_changes_of_one_promo_in_a_queue(api: Api, crowd: Runtime, stage: Stage) -> None:
    """Changes that wait for the same promo are counted from the country that it has when their turn comes."""
    company = api.sign_up_company()
    promo_id = company.create_promo(target={"country": "ru"})

    def change(country: str) -> Callable[[], Any]:
        return partial(company.patch, f"/business/promo/{promo_id}", json=_target(country))

    with stage.holding(promo_counters, promo_id=UUID(promo_id)) as (holder, queue):
        queue.add(change("fr"), change("it"), change("it"), change("us"))
        moved = {"country": "de", "age_from": None, "age_until": None, "categories": None}
        delete_listing(holder, UUID(promo_id))
        assert update_promo(holder, UUID(promo_id), moved)
        insert_listing(holder, UUID(promo_id), _TODAY)
    assert [answer.status_code for answer in queue.results()] == [200] * 4
    last = company.get(f"/business/promo/{promo_id}").json()["target"]["country"]
    assert {country: _total(company, f"&country={country}") for country in ("ru", "de", "fr", "it", "us")} == {
        country: int(country == last) for country in ("ru", "de", "fr", "it", "us")
    }
    with crowd.database.autocommit() as connection:
        _, total = list_promos(
            connection, UUID(company.id), crowd.today(), countries=None, sort_by=None, limit=0, offset=0
        )
    assert total == 1
    _assert_recounted(crowd)
