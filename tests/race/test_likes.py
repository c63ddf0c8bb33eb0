"""Concurrent likes: one for each user and promo, and exact counts."""

from functools import partial
from uuid import UUID

from persistence.schema.tables import promo_counters
from promo_api.runtime import Runtime
from tests.accounts import Api
from tests.race.consistency import recounted
from tests.race.interleaving import Stage, together


def test_likes_of_many_users(api: Api, runtime: Runtime) -> None:
    """If many users concurrently like a promo, each several times, each user is counted once."""
    promo_id = api.sign_up_company().create_promo()
    users = [api.sign_up_user() for _ in range(16)]
    responses = together([partial(user.post, f"/user/promo/{promo_id}/like") for user in users] * 3)
    assert {response.status_code for response in responses} == {200}
    assert recounted(runtime.database, promo_id).likes == 16


def test_unlikes_of_many_users(api: Api, runtime: Runtime) -> None:
    """If many users concurrently remove their likes, each several times, the likes of other users remain."""
    promo_id = api.sign_up_company().create_promo()
    users = [api.sign_up_user() for _ in range(16)]
    for user in users:
        user.post(f"/user/promo/{promo_id}/like")
    responses = together([partial(user.delete, f"/user/promo/{promo_id}/like") for user in users[:12]] * 3)
    assert {response.status_code for response in responses} == {200}
    assert recounted(runtime.database, promo_id).likes == 4


def test_likes_and_unlikes_of_one_user(api: Api, runtime: Runtime) -> None:
    """Concurrent likes and unlikes of one user leave one like or none, and the promo shows which."""
    promo_id = api.sign_up_company().create_promo()
    user = api.sign_up_user()
    path = f"/user/promo/{promo_id}/like"
    together([partial(user.post, path), partial(user.delete, path)] * 20)
    promo = user.get(f"/user/promo/{promo_id}").json()
    assert recounted(runtime.database, promo_id).likes == promo["like_count"] == int(promo["is_liked_by_user"])


def test_second_like_waits_for_the_first(api: Api, runtime: Runtime, stage: Stage) -> None:
    """Several likes of one user that wait for the promo's row count once; several unlikes remove one like."""
    promo_id = api.sign_up_company().create_promo()
    user, other = api.sign_up_user(), api.sign_up_user()
    path = f"/user/promo/{promo_id}/like"
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(*[partial(user.post, path)] * 4, partial(other.post, path))
    assert {response.status_code for response in queue.results()} == {200}
    assert recounted(runtime.database, promo_id).likes == 2
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(*[partial(user.delete, path)] * 4)
    assert {response.status_code for response in queue.results()} == {200}
    assert recounted(runtime.database, promo_id).likes == 1
