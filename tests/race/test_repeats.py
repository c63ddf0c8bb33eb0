"""Requests with the same Idempotency-Key at once: one is carried out, and all get its answer."""

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


def _replays(answers: list[Any]) -> int:
    return sum("Idempotent-Replayed" in answer.headers for answer in answers)


@pytest.mark.parametrize("how", ["api", "processes"])
def test_one_key_at_once(request: pytest.FixtureRequest, crowd: Runtime, how: str) -> None:
    """Of twenty requests with one key, in one process or many, one is carried out and nineteen get its answer."""
    api: Api = request.getfixturevalue(how)
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo(promo_unique=[f"code-{number}" for number in range(30)])
    answers = together([_activation(user, promo_id, "one-key")] * 20)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert _replays(answers) == 19
    assert recounted(crowd.database, promo_id).uses == 1


def test_the_second_waits_for_the_first(processes: Api, crowd: Runtime, stage: Stage) -> None:
    """Requests that begin while the first one waits for the promo's row have its answer, and no effect of their own."""
    company, user = processes.sign_up_company(), processes.sign_up_user()
    promo_id = company.create_promo(promo_unique=["code-1", "code-2", "code-3"])
    with stage.holding(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(*[_activation(user, promo_id, "one-key")] * 3)
    answers = queue.results()
    assert [answer.json() for answer in answers] == [answers[0].json()] * 3
    assert _replays(answers) == 2
    assert recounted(crowd.database, promo_id).uses == 1


def test_one_key_for_two_promos_at_once(processes: Api, crowd: Runtime, stage: Stage) -> None:
    """Of two requests with one key for two promos one is carried out, and the other one is 422 without any effect."""
    company, user = processes.sign_up_company(), processes.sign_up_user()
    promos = [company.create_promo() for _ in range(2)]
    with stage.holding(promo_counters, promo_id=UUID(promos[0])) as (_, queue):
        queue.add(_activation(user, promos[0], "one-key"))
        assert _activation(user, promos[1], "one-key")().status_code == 200
    assert [answer.status_code for answer in queue.results()] == [422]
    assert [recounted(crowd.database, promo_id).uses for promo_id in promos] == [0, 1]


def test_keys_and_the_last_uses(api: Api, crowd: Runtime) -> None:
    """Where fewer uses than requests are left, with keys and without, each use is given once and each key is right."""
    company, users = api.sign_up_company(), [api.sign_up_user() for _ in range(6)]
    promo_id = company.create_promo(promo_unique=[f"code-{number}" for number in range(25)])
    keys = [None, "key-1", "key-2", "key-3"]
    jobs = [_activation(user, promo_id, key) for user in users for key in keys for _ in range(3)]
    answers = together(jobs)
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses.keys() <= {200, 403}
    fresh = [each.json()["promo"] for each in answers if each.status_code == 200 and not _replays([each])]
    assert len(fresh) == len(set(fresh)) == recounted(crowd.database, promo_id).uses == 25
    for number in range(0, len(jobs), 3):
        if keys[number // 3 % 4] is not None:
            values = {each.json()["promo"] for each in answers[number : number + 3] if each.status_code == 200}
            assert len(values) <= 1


@pytest.mark.parametrize("what", ["comment", "promo"])
def test_other_operations(api: Api, what: str) -> None:
    """Comments and promos with one key at once are made once."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo()
    headers = {"Idempotency-Key": "one-key"}
    jobs = {
        "comment": partial(user.post, f"/user/promo/{promo_id}/comments", json={"text": "Again and again."}),
        "promo": partial(company.post, "/business/promo", json=promo_body(promo_unique=["c-1"] * 500)),
    }
    answers = together([partial(jobs[what], headers=headers)] * 12)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert _replays(answers) == 11
    there = (user.get(f"/user/promo/{promo_id}/comments"), company.get("/business/promo"))
    assert [answer.headers["X-Total-Count"] for answer in there] == (["1", "1"] if what == "comment" else ["0", "2"])
