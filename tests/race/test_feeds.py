"""Feeds while promos are created, changed, used up and folded: what a feed says is at each moment what promos say."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from persistence.engine import Database
from persistence.listings import count_wrong_entries
from persistence.tables import promo_counters
from persistence.tallies import count_promos, count_wrong_tallies, update_tallies
from promo_api.runtime import Runtime
from tests.integration.persistence.feeds import TODAY, Viewer, fitting, list_all
from tests.people import Account, Api
from tests.race.interleaving import Stage, together

_TARGETS: list[dict[str, Any]] = [
    {"country": "bt", "categories": ["race"]},
    {"age_from": 30, "age_until": 30, "categories": ["race", "RACE", "other"]},
    {"country": "BT", "age_until": 29},
    {"country": "la", "age_from": 31},
]


def _look(database: Database) -> None:
    """See, in one snapshot, that nothing is wrong, and that totals are those of the promos one by one."""
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
            total = count_promos(connection, viewer, TODAY, category=category, active=active)
            assert total == len(fitting(rows, viewer, TODAY, category, active))
        assert (count_wrong_tallies(connection), count_wrong_entries(connection)) == (0, 0)


def _fold(database: Database) -> None:
    with database.autocommit() as connection:
        update_tallies(connection, limit=5)


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


def test_nothing_is_counted_twice_or_not_at_all(api: Api, crowd: Runtime) -> None:
    """Companies create and change promos, users use them up, processes fold: every reader sees exact totals."""
    company, user = api.sign_up_company(), api.sign_up_user(country="bt", age=30)
    ids = [company.create_promo(target=target, max_count=2) for target in _TARGETS]
    jobs = [_repeated(_create, company, times=12) for _ in range(2)]
    jobs += [_repeated(_change, company, promo_id, times=10) for promo_id in ids + ids[:2]]
    jobs += [_repeated(user.post, f"/user/promo/{promo_id}/activate", times=12) for promo_id in ids]
    jobs += [_repeated(_fold, crowd.database, times=30) for _ in range(2)]
    jobs += [_repeated(_look, crowd.database, times=10) for _ in range(3)]
    together(jobs)
    _look(crowd.database)


@pytest.mark.parametrize("change_first", [True, False])
def test_last_use_while_the_target_changes(api: Api, crowd: Runtime, stage: Stage, change_first: bool) -> None:
    """The last use and a change of the target that wait for each other leave exact totals, whoever comes first."""
    company, user = api.sign_up_company(), api.sign_up_user(country="bt", age=30)
    promo_id = company.create_promo(target={"country": "bt"}, max_count=1)
    change = partial(company.patch, f"/business/promo/{promo_id}", json={"target": {"country": "la"}})
    use = partial(user.post, f"/user/promo/{promo_id}/activate")
    with stage.holding(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(*((change, use) if change_first else (use, change)))
    assert [answer.status_code for answer in queue.results()] == [200, 200]
    _look(crowd.database)


def test_two_changes_of_a_target(api: Api, crowd: Runtime, stage: Stage) -> None:
    """Of two changes at once the second takes away what the first has listed, and not what it saw before."""
    company = api.sign_up_company()
    promo_id = company.create_promo(target={"country": "bt"})
    changes = [
        partial(company.patch, f"/business/promo/{promo_id}", json={"target": {"country": country}})
        for country in ("la", "zw", "bt")
    ]
    with stage.holding(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(*changes)
    assert [answer.status_code for answer in queue.results()] == [200] * 3
    _look(crowd.database)
