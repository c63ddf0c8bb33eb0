"""Activations: never more than max_count, never one value twice, and nothing lost."""

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


def _statuses(answers: list[Any]) -> list[int]:
    return [answer.status_code for answer in answers]


def _member(crowd: Runtime, user: Account) -> User:
    claims = crowd.tokens.read(user.token, "user")
    assert claims is not None
    with crowd.database.autocommit() as connection:
        found = find_user(connection, claims.account_id)
    assert found is not None
    return found


def test_common_is_given_max_count_times(api: Api, crowd: Runtime) -> None:
    """Of two hundred at once, as many as max_count get the value, and all others are refused."""
    company, users = api.sign_up_company(), [api.sign_up_user() for _ in range(10)]
    promo_id = company.create_promo(max_count=100, promo_common="the-value")
    answers = together([_activation(users[number % 10], promo_id) for number in range(200)])
    assert Counter(_statuses(answers)) == {200: 100, 403: 100}
    assert {answer.json()["promo"] for answer in answers if answer.status_code == 200} == {"the-value"}
    assert recounted(crowd.database, promo_id).uses == 100
    assert sum(int(user.get("/user/promo/history").headers["x-total-count"]) for user in users) == 100


def test_unique_gives_each_value_once(api: Api, crowd: Runtime) -> None:
    """Of two hundred at once, a hundred get a hundred different values, and all others are refused."""
    company, users = api.sign_up_company(), [api.sign_up_user() for _ in range(10)]
    codes = [f"code-{number}" for number in range(100)]
    promo_id = company.create_promo(promo_unique=codes)
    answers = together([_activation(users[number % 10], promo_id) for number in range(200)])
    assert Counter(_statuses(answers)) == {200: 100, 403: 100}
    assert sorted(answer.json()["promo"] for answer in answers if answer.status_code == 200) == sorted(codes)
    assert recounted(crowd.database, promo_id).uses == 100


def test_lowered_limit_holds_for_those_who_waited(processes: Api, crowd: Runtime, stage: Stage) -> None:
    """Claims that wait for the promo's row behind a PATCH that lowers max_count are decided by the new limit."""
    company, user = processes.sign_up_company(), processes.sign_up_user()
    promo_id = company.create_promo(max_count=50)
    activation = _activation(user, promo_id)
    assert _statuses([activation() for _ in range(3)]) == [200] * 3
    with stage.holding(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(_patch(company, promo_id, max_count=5), *[activation] * 8)
    patched, *activated = queue.results()
    assert patched.status_code == 200
    assert Counter(_statuses(activated)) == {200: 2, 403: 6}
    assert recounted(crowd.database, promo_id).uses == 5


def test_raised_limit_holds_for_those_who_waited(processes: Api, crowd: Runtime, stage: Stage) -> None:
    """Claims that wait behind a PATCH that raises max_count get the uses that it adds."""
    company, user = processes.sign_up_company(), processes.sign_up_user()
    promo_id = company.create_promo(max_count=1)
    with stage.holding(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(_patch(company, promo_id, max_count=3), *[_activation(user, promo_id)] * 4)
    patched, *activated = queue.results()
    assert patched.status_code == 200
    assert Counter(_statuses(activated)) == {200: 3, 403: 1}
    assert recounted(crowd.database, promo_id).uses == 3


def test_those_who_do_not_fit_take_nothing_from_others(api: Api, crowd: Runtime) -> None:
    """Of many at once, all those that the promo is for get a value, and nobody else, however they come together."""
    company, fitting, foreign = api.sign_up_company(), api.sign_up_user(), api.sign_up_user(country="fr")
    young = api.sign_up_user(age=17)
    promo_id = company.create_promo(promo_unique=["code"] * 30, target={"country": "RU", "age_from": 18})
    answers = together([_activation(user, promo_id) for user in (fitting, foreign, young, fitting) * 15])
    assert _statuses(answers) == [200, 403, 403, 200] * 15
    assert recounted(crowd.database, promo_id).uses == 30


@pytest.mark.parametrize("how", ["api", "processes"])
def test_many_users_at_many_promos(request: pytest.FixtureRequest, crowd: Runtime, how: str) -> None:
    """Users who activate the same promos at once, each in an order of its own, all get their values: nobody waits for
    somebody who waits for them.
    """
    api: Api = request.getfixturevalue(how)
    company, users = api.sign_up_company(), [api.sign_up_user() for _ in range(8)]
    promos = [company.create_promo() for _ in range(4)]
    jobs = [_activation(user, promo_id) for turn in range(4) for user in users for promo_id in promos]
    for turn in range(3):
        assert set(_statuses(together([*jobs[turn::3], *reversed(jobs[turn::3])]))) == {200}
    assert [recounted(crowd.database, promo_id).uses for promo_id in promos] == [2 * 4 * 8] * 4


def test_limit_is_not_lowered_below_claims_before_it(processes: Api, crowd: Runtime, stage: Stage) -> None:
    """A PATCH that waits behind claims is refused if they have used more than it would allow."""
    company, user = processes.sign_up_company(), processes.sign_up_user()
    promo_id = company.create_promo(max_count=50)
    with stage.holding(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(_activation(user, promo_id), _patch(company, promo_id, max_count=0))
    assert _statuses(queue.results()) == [200, 400]
    assert company.get(f"/business/promo/{promo_id}").json()["max_count"] == 50
    assert recounted(crowd.database, promo_id).uses == 1


def test_limit_and_claims_at_once(api: Api, crowd: Runtime) -> None:
    """However PATCHes of max_count and claims come, there are as many activations as were answered with a value."""
    company, user = api.sign_up_company(), api.sign_up_user()
    promo_id = company.create_promo(max_count=30)
    patches = [_patch(company, promo_id, max_count=limit) for limit in (10, 5, 40, 12, 20, 15, 8, 25)]
    answers = together([job for patch in patches for job in (patch, *[_activation(user, promo_id)] * 4)])
    activated = [answer for number, answer in enumerate(answers) if number % 5]
    assert {200, 403} >= set(_statuses(activated))
    assert recounted(crowd.database, promo_id).uses == _statuses(activated).count(200)


@pytest.mark.parametrize("promo", [{"promo_unique": ["only-code"]}, {"promo_common": "only-code", "max_count": 1}])
def test_claim_that_was_rolled_back_is_free(api: Api, crowd: Runtime, stage: Stage, promo: dict[str, Any]) -> None:
    """The last value, claimed by a connection that dies before its commit, goes to the one who waited for it."""
    user = api.sign_up_user()
    promo_id = api.sign_up_company().create_promo(**promo)
    member = _member(crowd, user)

    def claim_and_die() -> None:
        with crowd.database.transaction() as connection:
            claim = Claim(uuid4(), member.id, member.country_key, member.age)
            assert claim_values(connection, UUID(promo_id), [claim], crowd.today()) == ["only-code"]
            queue.add(_activation(user, promo_id))
            stage.terminate(pid_of(connection))

    with stage.queue() as queue, pytest.raises(ServiceUnavailable):
        claim_and_die()
    assert [answer.json() for answer in queue.results()] == [{"promo": "only-code"}]
    assert recounted(crowd.database, promo_id).uses == 1


def test_use_without_its_code_is_not_counted(api: Api, crowd: Runtime) -> None:
    """Where the code that comes next is not there, the claim fails as a whole: no use is counted without a value."""
    promo_id = UUID(api.sign_up_company().create_promo(promo_unique=["one", "two"]))
    member = _member(crowd, api.sign_up_user())
    claims = [Claim(uuid4(), member.id, member.country_key, member.age) for _ in range(2)]
    second = delete(promo_codes).where(promo_codes.c.promo_id == promo_id, promo_codes.c.position == 2)

    def claim_without_the_second() -> None:
        with crowd.database.transaction() as connection:
            connection.execute(second)
            claim_values(connection, promo_id, claims, crowd.today())

    with pytest.raises(StatementRefused, match="NotNullViolation"):
        claim_without_the_second()
    assert recounted(crowd.database, str(promo_id)).uses == 0


def test_those_who_waited_are_refused_at_the_commit(processes: Api, crowd: Runtime, stage: Stage) -> None:
    """Those who wait while the last value is being claimed are refused once it is, and not before."""
    user = processes.sign_up_user()
    promo_id = processes.sign_up_company().create_promo(promo_unique=["only-code"])
    member = _member(crowd, user)
    with stage.queue() as queue, crowd.database.transaction() as connection:
        claim = Claim(uuid4(), member.id, member.country_key, member.age)
        claim_values(connection, UUID(promo_id), [claim], crowd.today())
        queue.add(*[_activation(user, promo_id)] * 3)
    assert _statuses(queue.results()) == [403] * 3
    assert recounted(crowd.database, promo_id).uses == 1
