"""Concurrent activations: at most max_count, no code is issued twice, and none is lost."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete

from persistence.accounts.users import User, find_user
from persistence.activations import Claim, claim_values
from persistence.database.errors import StatementRefused
from persistence.schema.tables import promo_codes, promo_counters
from promo_api.errors import ServiceUnavailable
from promo_api.runtime import Runtime
from tests.accounts import Account, Api
from tests.race.consistency import recounted
from tests.race.interleaving import Stage, pid_of, together

pytestmark = pytest.mark.usefixtures("both_verdict_paths")


def _activation(user: Account, promo_id: str) -> Callable[[], Any]:
    return partial(user.post, f"/user/promo/{promo_id}/activate")


def _patch(company: Account, promo_id: str, **changes: Any) -> Callable[[], Any]:
    return partial(company.patch, f"/business/promo/{promo_id}", json=changes)


def _statuses(responses: list[Any]) -> list[int]:
    return [response.status_code for response in responses]


def _user_of(runtime: Runtime, user: Account) -> User:
    claims = runtime.tokens.read(user.token, "user")
    with runtime.database.autocommit() as connection:
        stored = find_user(connection, claims.account_id)
    assert stored is not None
    return stored


def test_common_promo_is_activated_max_count_times(api: Api, runtime: Runtime) -> None:
    """Of 200 concurrent activations, max_count get the code, and all others are refused."""
    company, users = api.sign_up_company(), [api.sign_up_user() for _ in range(10)]
    promo_id = company.create_promo(max_count=100, promo_common="the-value")
    responses = together([_activation(users[number % 10], promo_id) for number in range(200)])
    assert Counter(_statuses(responses)) == {200: 100, 403: 100}
    assert {response.json()["promo"] for response in responses if response.status_code == 200} == {"the-value"}
    assert recounted(runtime.database, promo_id).uses == 100
    assert sum(int(user.get("/user/promo/history").headers["x-total-count"]) for user in users) == 100


def test_unique_gives_each_value_once(api: Api, runtime: Runtime) -> None:
    """Of 200 concurrent activations, 100 get 100 different codes, and all others are refused."""
    company, users = api.sign_up_company(), [api.sign_up_user() for _ in range(10)]
    codes = [f"code-{number}" for number in range(100)]
    promo_id = company.create_promo(promo_unique=codes)
    responses = together([_activation(users[number % 10], promo_id) for number in range(200)])
    assert Counter(_statuses(responses)) == {200: 100, 403: 100}
    assert sorted(response.json()["promo"] for response in responses if response.status_code == 200) == sorted(codes)
    assert recounted(runtime.database, promo_id).uses == 100


def test_lowered_limit_applies_to_waiting_claims(uncoalesced_api: Api, runtime: Runtime, stage: Stage) -> None:
    """The new limit applies to claims that wait for a PATCH that lowers max_count."""
    company, user = uncoalesced_api.sign_up_company(), uncoalesced_api.sign_up_user()
    promo_id = company.create_promo(max_count=50)
    activation = _activation(user, promo_id)
    assert _statuses([activation() for _ in range(3)]) == [200] * 3
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(_patch(company, promo_id, max_count=5), *[activation] * 8)
    patched, *activated = queue.results()
    assert patched.status_code == 200
    assert Counter(_statuses(activated)) == {200: 2, 403: 6}
    assert recounted(runtime.database, promo_id).uses == 5


def test_raised_limit_applies_to_waiting_claims(uncoalesced_api: Api, runtime: Runtime, stage: Stage) -> None:
    """The new limit applies to claims that wait for a PATCH that raises max_count."""
    company, user = uncoalesced_api.sign_up_company(), uncoalesced_api.sign_up_user()
    promo_id = company.create_promo(max_count=1)
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(_patch(company, promo_id, max_count=3), *[_activation(user, promo_id)] * 4)
    patched, *activated = queue.results()
    assert patched.status_code == 200
    assert Counter(_statuses(activated)) == {200: 3, 403: 1}
    assert recounted(runtime.database, promo_id).uses == 3


def test_refused_users_take_no_code(api: Api, runtime: Runtime) -> None:
    """Of many concurrent users, all users in the target get a code, and no other user does."""
    company, fitting, foreign = api.sign_up_company(), api.sign_up_user(), api.sign_up_user(country="fr")
    young = api.sign_up_user(age=17)
    promo_id = company.create_promo(promo_unique=["code"] * 30, target={"country": "RU", "age_from": 18})
    responses = together([_activation(user, promo_id) for user in (fitting, foreign, young, fitting) * 15])
    assert _statuses(responses) == [200, 403, 403, 200] * 15
    assert recounted(runtime.database, promo_id).uses == 30


@pytest.mark.parametrize("how", ["api", "uncoalesced_api"])
def test_many_users_and_promos(request: pytest.FixtureRequest, runtime: Runtime, how: str) -> None:
    """Users who concurrently activate the same promos in different orders all get codes: there is no deadlock."""
    api: Api = request.getfixturevalue(how)
    company, users = api.sign_up_company(), [api.sign_up_user() for _ in range(8)]
    promos = [company.create_promo() for _ in range(4)]
    jobs = [_activation(user, promo_id) for _ in range(4) for user in users for promo_id in promos]
    for start in range(3):
        assert set(_statuses(together([*jobs[start::3], *reversed(jobs[start::3])]))) == {200}
    assert [recounted(runtime.database, promo_id).uses for promo_id in promos] == [2 * 4 * 8] * 4


def test_limit_is_not_lowered_below_earlier_claims(uncoalesced_api: Api, runtime: Runtime, stage: Stage) -> None:
    """A PATCH that waits for claims is refused if their number exceeds the new max_count."""
    company, user = uncoalesced_api.sign_up_company(), uncoalesced_api.sign_up_user()
    promo_id = company.create_promo(max_count=50)
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(_activation(user, promo_id), _patch(company, promo_id, max_count=0))
    assert _statuses(queue.results()) == [200, 400]
    assert company.get(f"/business/promo/{promo_id}").json()["max_count"] == 50
    assert recounted(runtime.database, promo_id).uses == 1


def test_concurrent_limit_changes_and_claims(api: Api, runtime: Runtime) -> None:
    """With concurrent changes of max_count and claims, stored activations equal successful responses."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo(max_count=30)
    patches = [_patch(company, promo_id, max_count=limit) for limit in (10, 5, 40, 12, 20, 15, 8, 25)]
    responses = together([job for patch in patches for job in (patch, *[_activation(user, promo_id)] * 4)])
    activated = [response for number, response in enumerate(responses) if number % 5]
    assert {200, 403} >= set(_statuses(activated))
    assert recounted(runtime.database, promo_id).uses == _statuses(activated).count(200)


@pytest.mark.parametrize("promo", [{"promo_unique": ["only-code"]}, {"promo_common": "only-code", "max_count": 1}])
def test_rolled_back_claim_is_available_again(api: Api, runtime: Runtime, stage: Stage, promo: dict[str, Any]) -> None:
    """If a session that has claimed the last code is terminated before its commit, a waiting user gets the code."""
    user = api.sign_up_user()
    promo_id = api.sign_up_company().create_promo(**promo)
    member = _user_of(runtime, user)

    def claim_and_terminate() -> None:
        with runtime.database.transaction() as connection:
            claim = Claim(uuid4(), member.id, member.country_key, member.age)
            assert claim_values(connection, UUID(promo_id), [claim], runtime.today()) == ["only-code"]
            queue.add(_activation(user, promo_id))
            stage.terminate(pid_of(connection))

    with stage.queue() as queue, pytest.raises(ServiceUnavailable):
        claim_and_terminate()
    assert [response.json() for response in queue.results()] == [{"promo": "only-code"}]
    assert recounted(runtime.database, promo_id).uses == 1


def test_claim_without_a_code_is_rolled_back(api: Api, runtime: Runtime) -> None:
    """If the next code is missing, the whole claim fails: no activation is counted without a code."""
    promo_id = UUID(api.sign_up_company().create_promo(promo_unique=["one", "two"]))
    member = _user_of(runtime, api.sign_up_user())
    claims = [Claim(uuid4(), member.id, member.country_key, member.age) for _ in range(2)]
    second = delete(promo_codes).where(promo_codes.c.promo_id == promo_id, promo_codes.c.position == 2)

    def claim_without_the_second() -> None:
        with runtime.database.transaction() as connection:
            connection.execute(second)
            claim_values(connection, promo_id, claims, runtime.today())

    with pytest.raises(StatementRefused, match="RaiseException"):
        claim_without_the_second()
    assert recounted(runtime.database, str(promo_id)).uses == 0


def test_waiting_users_are_refused_at_the_commit(uncoalesced_api: Api, runtime: Runtime, stage: Stage) -> None:
    """Users who wait for the claim of the last code are refused at its commit, and not before."""
    user = uncoalesced_api.sign_up_user()
    promo_id = uncoalesced_api.sign_up_company().create_promo(promo_unique=["only-code"])
    member = _user_of(runtime, user)
    with stage.queue() as queue, runtime.database.transaction() as connection:
        claim = Claim(uuid4(), member.id, member.country_key, member.age)
        claim_values(connection, UUID(promo_id), [claim], runtime.today())
        queue.add(*[_activation(user, promo_id)] * 3)
    assert _statuses(queue.results()) == [403] * 3
    assert recounted(runtime.database, promo_id).uses == 1
