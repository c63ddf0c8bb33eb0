"""Claims at the same time as pauses, archives, changed limits per user, and added codes."""

from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, update

from persistence.schema.tables import promo_codes, promo_counters, promos
from promo_api.runtime import Runtime
from tests.accounts import Api
from tests.race.consistency import recounted
from tests.race.interleaving import Stage, together
from tests.race.jobs import activation, patch, statuses

pytestmark = pytest.mark.usefixtures("both_verdict_paths")


@pytest.mark.parametrize("codes", [{"max_count": 1000}, {"promo_unique": [f"code-{n}" for n in range(300)]}])
def test_limit_per_user_is_exact(api: Api, runtime: Runtime, codes: dict[str, Any]) -> None:
    """Of 200 concurrent activations by 20 users, each user gets three, and all others are refused."""
    users = [api.sign_up_user() for _ in range(20)]
    promo_id = api.sign_up_company().create_promo(max_per_user=3, **codes)
    responses = together([activation(users[number % 20], promo_id) for number in range(200)])
    by_user = Counter(number % 20 for number, response in enumerate(responses) if response.status_code == 200)
    assert by_user == dict.fromkeys(range(20), 3)
    refused = [response.json()["code"] for response in responses if response.status_code != 200]
    assert Counter(refused) == {"user_limit": 140}
    assert recounted(runtime.database, promo_id).uses == 60


@pytest.mark.parametrize(("member", "code"), [("paused", "promo_paused"), ("archived", "promo_archived")])
def test_claim_that_waits_for_a_stop(
    uncoalesced_api: Api, runtime: Runtime, stage: Stage, member: str, code: str
) -> None:
    """Claims that wait while a promo is stopped are refused: after the response to the company nothing is granted."""
    company, user = uncoalesced_api.sign_up_company(), uncoalesced_api.sign_up_user()
    promo_id = company.create_promo()
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(patch(company, promo_id, **{member: True}), *[activation(user, promo_id)] * 3)
    patched, *claims = queue.results()
    assert patched.status_code == 200
    assert [claim.json()["code"] for claim in claims] == [code] * 3
    assert recounted(runtime.database, promo_id).uses == 0


def test_stop_that_waits_for_a_claim(uncoalesced_api: Api, runtime: Runtime, stage: Stage) -> None:
    """A claim before a pause is granted, and the pause and the feed are right after it."""
    company, user = uncoalesced_api.sign_up_company(), uncoalesced_api.sign_up_user()
    promo_id = company.create_promo(max_count=1, target={"categories": ["stopped then"]})
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(activation(user, promo_id), patch(company, promo_id, paused=True))
    assert statuses(queue.results()) == [200, 200]
    assert recounted(runtime.database, promo_id).uses == 1
    assert user.get("/user/feed?active=true&category=stopped%20then").json() == []


def test_claim_that_waits_for_a_limit(uncoalesced_api: Api, runtime: Runtime, stage: Stage) -> None:
    """Claims that wait while a limit per user is set obey it, and count the activations before it."""
    company, user = uncoalesced_api.sign_up_company(), uncoalesced_api.sign_up_user()
    promo_id = company.create_promo()
    assert activation(user, promo_id)().status_code == 200
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(patch(company, promo_id, max_per_user=2), *[activation(user, promo_id)] * 3)
    patched, *claims = statuses(queue.results())
    assert (patched, sorted(claims)) == (200, [200, 403, 403])
    assert recounted(runtime.database, promo_id).uses == 2


def test_claim_that_waits_for_codes(uncoalesced_api: Api, runtime: Runtime, stage: Stage) -> None:
    """A claim that waits while codes are added gets one of them."""
    company, user = uncoalesced_api.sign_up_company(), uncoalesced_api.sign_up_user()
    promo_id = company.create_promo(promo_unique=["one", "two"])
    assert activation(user, promo_id)().json() == {"promo": "one"}
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (holder, queue):
        queue.add(*[activation(user, promo_id)] * 2)
        values = {"promo_id": promo_id, "position": 3, "value": "three"}
        holder.execute(insert(promo_codes), values)
        holder.execute(update(promo_counters).where(promo_counters.c.promo_id == promo_id).values(use_limit=3))
        # `check` compares them.
        codes = ["one", "two", "three"]
        holder.execute(update(promos).where(promos.c.id == promo_id).values(promo_unique=codes))
    assert sorted(response.json()["promo"] for response in queue.results()) == ["three", "two"]
    assert recounted(runtime.database, promo_id).uses == 3
