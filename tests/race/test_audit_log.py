"""The audit log of a promo under concurrent PATCHes: each entry begins with the values of the previous one."""

from collections import Counter
from functools import partial
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Table

from persistence.consistency import count_mismatched_change_numbers, count_mismatched_changes
from persistence.schema.tables import promo_counters, promos
from promo_api.runtime import Runtime
from tests.accounts import Account, Api, user_body
from tests.race.interleaving import Stage, together

_MEMBERS: dict[str, list[Any]] = {
    "description": ["The first description", "The second description", "The third description"],
    "image_url": ["https://example.com/1.png", "https://example.com/2.png"],
    "target": [{}, {"country": "fr"}, {"country": "FR", "categories": ["a1", "b2"]}, {"age_from": 18}],
    "max_count": [50, 51, 1000],
    "active_from": ["2025-01-10", "2025-01-11"],
    "active_until": ["2025-02-10", "2999-02-11"],
}


def _audit_log(company: Account, promo_id: str) -> list[dict[str, Any]]:
    """Return all entries, oldest first."""
    response = company.get(f"/business/promo/{promo_id}/changes?limit=100")
    entries: list[dict[str, Any]] = response.json()
    assert int(response.headers["X-Total-Count"]) == len(entries)
    return entries[::-1]


def _assert_chain(company: Account, promo_id: str, before: dict[str, Any]) -> None:
    """Assert that the entries lead from the earlier promo to the current one without a gap."""
    promo, entries = dict(before), _audit_log(company, promo_id)
    assert [entry["number"] for entry in entries] == [*range(1, len(entries) + 1)]
    assert all(first["changed_at"] <= second["changed_at"] for first, second in pairwise(entries))
    for entry in entries[1:]:
        for name, change in entry["changes"].items():
            assert change.get("from") == promo.get(name), (name, entry)
            assert change["to"] != promo.get(name)
            promo[name] = change["to"]
    now = company.get(f"/business/promo/{promo_id}").json()
    assert {name: promo.get(name) for name in _MEMBERS} == {name: now.get(name) for name in _MEMBERS}


@pytest.mark.parametrize(
    ("table", "column"), [(promo_counters, "promo_id"), (promos, "id")], ids=["counters", "definition"]
)
def test_waiting_changes(api: Api, stage: Stage, table: Table, column: str) -> None:
    """The entry of each of several changes that wait for one promo begins with the result of the previous change."""
    company = api.sign_up_company()
    promo_id = company.create_promo(max_count=1)
    path = f"/business/promo/{promo_id}"
    before = company.get(path).json()
    changes: list[dict[str, Any]] = [
        {"max_count": 2},
        {"description": "The first description"},
        {"max_count": 3, "target": {"country": "fr"}},
        {"description": "The second description", "target": {"country": "fr"}},
        {"max_count": 3},
    ]
    with stage.lock_row(table, **{column: UUID(promo_id)}) as (_, queue):
        queue.add(*[partial(company.patch, path, json=change) for change in changes])
    assert [response.status_code for response in queue.results()] == [200] * len(changes)
    _assert_chain(company, promo_id, before)
    # In any order, one of the two changes that set the same country, or the same max_count, changes nothing.
    members = Counter(name for entry in _audit_log(company, promo_id)[1:] for name in entry["changes"])
    assert (members["description"], members["target"]) == (2, 1)


def test_concurrent_changes(api: Api, runtime: Runtime) -> None:
    """After many concurrent changes and activations the entries are a chain that agrees with the promo."""
    company = api.sign_up_company()
    promo_id = company.create_promo(max_count=1000)
    path = f"/business/promo/{promo_id}"
    before = company.get(path).json()
    users = [api.sign_up_user(**user_body(country="fr")["other"]) for _ in range(4)]
    changes = [
        {name: values[number % len(values)] for bit, (name, values) in enumerate(_MEMBERS.items()) if number >> bit & 1}
        for number in range(3, 64, 4)
    ]
    jobs = [partial(company.patch, path, json=change) for change in changes]
    activations = [partial(user.post, f"/user/promo/{promo_id}/activate") for user in users]
    responses = together([*jobs, *activations])
    assert [response.status_code for response in responses[: len(jobs)]] == [200] * len(jobs)
    _assert_chain(company, promo_id, before)
    with runtime.database.autocommit() as connection:
        assert (count_mismatched_change_numbers(connection), count_mismatched_changes(connection)) == (0, 0)
