"""PATCHes of one promo at once: its period never ends before it begins, and nothing of a refused one is kept."""

from functools import partial
from uuid import UUID

from persistence.tables import promos
from promo_api.runtime import Runtime
from tests.accounts import Api
from tests.race.interleaving import Stage, together
from tests.race.recount import recounted


def test_two_changes_that_exclude_each_other(api: Api, stage: Stage) -> None:
    """Of two changes, each of them fine alone, that would reverse the period together, the second is refused."""
    company = api.sign_up_company()
    promo_id = company.create_promo(active_from="2025-01-10", active_until="2025-01-20")
    path = f"/business/promo/{promo_id}"
    with stage.holding(promos, id=UUID(promo_id)) as (_, queue):
        queue.add(
            partial(company.patch, path, json={"active_from": "2025-01-18"}),
            partial(company.patch, path, json={"active_until": "2025-01-12"}),
        )
    assert [answer.status_code for answer in queue.results()] == [200, 400]
    promo = company.get(path).json()
    assert (promo["active_from"], promo["active_until"]) == ("2025-01-18", "2025-01-20")


def test_refused_change_leaves_no_part(api: Api, crowd: Runtime, stage: Stage) -> None:
    """A change that is refused for the period, which was changed while it waited, does not keep its max_count."""
    company = api.sign_up_company()
    promo_id = company.create_promo(active_from="2025-01-10", active_until="2025-01-20", max_count=7)
    path = f"/business/promo/{promo_id}"
    with stage.holding(promos, id=UUID(promo_id)) as (_, queue):
        queue.add(
            partial(company.patch, path, json={"active_from": "2025-01-18"}),
            partial(company.patch, path, json={"active_until": "2025-01-12", "max_count": 9}),
        )
    assert [answer.status_code for answer in queue.results()] == [200, 400]
    assert company.get(path).json()["max_count"] == 7
    assert recounted(crowd.database, promo_id).uses == 0


def test_many_changes_at_once(api: Api) -> None:
    """Whatever changes of the period come at once, it is never seen reversed."""
    company = api.sign_up_company()
    promo_id = company.create_promo(active_from="2025-01-14", active_until="2025-01-15")
    path = f"/business/promo/{promo_id}"
    days = [f"2025-01-{day:02}" for day in range(1, 29, 3)]
    begins = [partial(company.patch, path, json={"active_from": day}) for day in days]
    ends = [partial(company.patch, path, json={"active_until": day}) for day in days]
    answers = together([job for pair in zip(begins, reversed(ends), strict=True) for job in pair])
    assert {answer.status_code for answer in answers} == {200, 400}
    seen = [answer.json() for answer in answers if answer.status_code == 200] + [company.get(path).json()]
    assert all(promo["active_from"] <= promo["active_until"] for promo in seen)
