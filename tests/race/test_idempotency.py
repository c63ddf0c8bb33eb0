"""Concurrent requests with one Idempotency-Key: one is executed, and all get its response."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from persistence.schema.tables import promo_counters
from promo_api.runtime import Runtime
from tests.accounts import Account, Api, promo_body
from tests.race.consistency import recounted
from tests.race.interleaving import Stage, together

pytestmark = pytest.mark.usefixtures("both_verdict_paths")


def _activation(user: Account, promo_id: str, key: str | None) -> Callable[[], Any]:
    headers = {} if key is None else {"Idempotency-Key": key}
    return partial(user.post, f"/user/promo/{promo_id}/activate", headers=headers)


def _replays(responses: list[Any]) -> int:
    return sum("Idempotent-Replayed" in response.headers for response in responses)


@pytest.mark.parametrize("fixture", ["api", "uncoalesced_api"])
def test_concurrent_requests_with_one_key(request: pytest.FixtureRequest, runtime: Runtime, fixture: str) -> None:
    """Of 20 requests with one key, in one process or many, one is executed and 19 get its response."""
    api: Api = request.getfixturevalue(fixture)
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo(promo_unique=[f"code-{number}" for number in range(30)])
    responses = together([_activation(user, promo_id, "one-key")] * 20)
    assert {response.status_code for response in responses} == {200}
    assert len({response.content for response in responses}) == 1
    assert _replays(responses) == 19
    assert recounted(runtime.database, promo_id).uses == 1


def test_second_request_waits_for_the_first(uncoalesced_api: Api, runtime: Runtime, stage: Stage) -> None:
    """Requests that begin while the first waits for the promo's row get its response, and have no effect."""
    company, user = uncoalesced_api.sign_up_company(), uncoalesced_api.sign_up_user()
    promo_id = company.create_promo(promo_unique=["code-1", "code-2", "code-3"])
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(*[_activation(user, promo_id, "one-key")] * 3)
    responses = queue.results()
    assert [response.json() for response in responses] == [responses[0].json()] * 3
    assert _replays(responses) == 2
    assert recounted(runtime.database, promo_id).uses == 1


def test_second_request_for_the_last_use(uncoalesced_api: Api, stage: Stage) -> None:
    """If the first request takes the last use, concurrent requests with its key get its response, and others a 403."""
    company, user = uncoalesced_api.sign_up_company(), uncoalesced_api.sign_up_user()
    promo_id = company.create_promo(promo_unique=["only"])
    keys = ["one-key", "one-key", "another-key", "one-key"]
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(*(_activation(user, promo_id, key) for key in keys))
    responses = queue.results()
    assert [response.status_code for response in responses] == [200, 200, 403, 200]
    assert {response.json()["promo"] for response in responses if response.status_code == 200} == {"only"}
    assert _replays(responses) == 2


def test_one_key_for_two_promos(uncoalesced_api: Api, runtime: Runtime, stage: Stage) -> None:
    """Of two concurrent requests with one key for two promos, one is executed, and the other gets 422."""
    company, user = uncoalesced_api.sign_up_company(), uncoalesced_api.sign_up_user()
    promos = [company.create_promo() for _ in range(2)]
    with stage.lock_row(promo_counters, promo_id=UUID(promos[0])) as (_, queue):
        queue.add(_activation(user, promos[0], "one-key"))
        assert _activation(user, promos[1], "one-key")().status_code == 200
    assert [response.status_code for response in queue.results()] == [422]
    assert [recounted(runtime.database, promo_id).uses for promo_id in promos] == [0, 1]


def test_keys_and_the_last_codes(api: Api, runtime: Runtime) -> None:
    """With fewer codes than requests, with keys and without, each code is issued once, and each key has one code."""
    company, users = api.sign_up_company(), [api.sign_up_user() for _ in range(6)]
    promo_id = company.create_promo(promo_unique=[f"code-{number}" for number in range(25)])
    keys = [None, "key-1", "key-2", "key-3"]
    jobs = [_activation(user, promo_id, key) for user in users for key in keys for _ in range(3)]
    responses = together(jobs)
    statuses = Counter(response.status_code for response in responses)
    assert statuses.keys() <= {200, 403}
    new_codes = [each.json()["promo"] for each in responses if each.status_code == 200 and not _replays([each])]
    assert len(new_codes) == len(set(new_codes)) == recounted(runtime.database, promo_id).uses == 25
    for number in range(0, len(jobs), 3):
        if keys[number // 3 % 4] is not None:
            values = {each.json()["promo"] for each in responses[number : number + 3] if each.status_code == 200}
            assert len(values) <= 1


@pytest.mark.parametrize("name", ["comment", "promo"])
def test_other_operations(api: Api, name: str) -> None:
    """Concurrent requests with one key create one comment or promo."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo()
    headers = {"Idempotency-Key": "one-key"}
    jobs = {
        "comment": partial(user.post, f"/user/promo/{promo_id}/comments", json={"text": "The same comment."}),
        "promo": partial(company.post, "/business/promo", json=promo_body(promo_unique=["c-1"] * 500)),
    }
    responses = together([partial(jobs[name], headers=headers)] * 12)
    assert {response.status_code for response in responses} == {201}
    assert len({response.content for response in responses}) == 1
    assert _replays(responses) == 11
    lists = (user.get(f"/user/promo/{promo_id}/comments"), company.get("/business/promo"))
    assert [response.headers["X-Total-Count"] for response in lists] == (
        ["1", "1"] if name == "comment" else ["0", "2"]
    )
