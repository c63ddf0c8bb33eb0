"""Concurrent changes of a promo's period: it never ends before it begins, and a refused change has no effect."""

from functools import partial
from uuid import UUID

from persistence.schema.tables import promos
from promo_api.runtime import Runtime
from tests.accounts import Api
from tests.race.consistency import recounted
from tests.race.interleaving import Stage, together


def test_conflicting_changes(api: Api, stage: Stage) -> None:
    """Of two changes that are valid alone, but together would reverse the period, the second is refused."""
    company = api.sign_up_company()
    promo_id = company.create_promo(active_from="2025-01-10", active_until="2025-01-20")
    path = f"/business/promo/{promo_id}"
    with stage.lock_row(promos, id=UUID(promo_id)) as (_, queue):
        queue.add(
            partial(company.patch, path, json={"active_from": "2025-01-18"}),
            partial(company.patch, path, json={"active_until": "2025-01-12"}),
        )
    assert [response.status_code for response in queue.results()] == [200, 400]
    promo = company.get(path).json()
    assert (promo["active_from"], promo["active_until"]) == ("2025-01-18", "2025-01-20")


def test_refused_change_has_no_effect(api: Api, runtime: Runtime, stage: Stage) -> None:
    """A change that is refused because the period changed while it waited does not change max_count either."""
    company = api.sign_up_company()
    promo_id = company.create_promo(active_from="2025-01-10", active_until="2025-01-20", max_count=7)
    path = f"/business/promo/{promo_id}"
    with stage.lock_row(promos, id=UUID(promo_id)) as (_, queue):
        queue.add(
            partial(company.patch, path, json={"active_from": "2025-01-18"}),
            partial(company.patch, path, json={"active_until": "2025-01-12", "max_count": 9}),
        )
    assert [response.status_code for response in queue.results()] == [200, 400]
    assert company.get(path).json()["max_count"] == 7
    assert recounted(runtime.database, promo_id).uses == 0


def test_concurrent_changes(api: Api) -> None:
    """During concurrent changes of the period no response shows it reversed."""
    company = api.sign_up_company()
    promo_id = company.create_promo(active_from="2025-01-14", active_until="2025-01-15")
    path = f"/business/promo/{promo_id}"
    days = [f"2025-01-{day:02}" for day in range(1, 29, 3)]
    begins = [partial(company.patch, path, json={"active_from": day}) for day in days]
    ends = [partial(company.patch, path, json={"active_until": day}) for day in days]
    responses = together([job for pair in zip(begins, reversed(ends), strict=True) for job in pair])
    assert {response.status_code for response in responses} == {200, 400}
    shown = [response.json() for response in responses if response.status_code == 200] + [company.get(path).json()]
    assert all(promo["active_from"] <= promo["active_until"] for promo in shown)
