"""Likes: one for each user and promo, and counted as they are."""

from functools import partial
from uuid import UUID

from persistence.tables import promo_counters
from promo_api.runtime import Runtime
from tests.accounts import Api
from tests.race.interleaving import Stage, together
from tests.race.recount import recounted


def test_likes_of_many_users(api: Api, crowd: Runtime) -> None:
    """Many users who like a promo at once, each several times, are counted once each."""
    promo_id = api.sign_up_company().create_promo()
    users = [api.sign_up_user() for _ in range(16)]
    answers = together([partial(user.post, f"/user/promo/{promo_id}/like") for user in users] * 3)
    assert {answer.status_code for answer in answers} == {200}
    assert recounted(crowd.database, promo_id).likes == 16


def test_unlikes_of_many_users(api: Api, crowd: Runtime) -> None:
    """Many users who take their likes back at once, each several times, leave those of the others."""
    promo_id = api.sign_up_company().create_promo()
    users = [api.sign_up_user() for _ in range(16)]
    for user in users:
        user.post(f"/user/promo/{promo_id}/like")
    answers = together([partial(user.delete, f"/user/promo/{promo_id}/like") for user in users[:12]] * 3)
    assert {answer.status_code for answer in answers} == {200}
    assert recounted(crowd.database, promo_id).likes == 4


def test_likes_and_unlikes_of_one_user(api: Api, crowd: Runtime) -> None:
    """Likes and unlikes of one user at once end in one like or none, and the user sees which."""
    promo_id = api.sign_up_company().create_promo()
    user = api.sign_up_user()
    path = f"/user/promo/{promo_id}/like"
    together([partial(user.post, path), partial(user.delete, path)] * 20)
    card = user.get(f"/user/promo/{promo_id}").json()
    assert recounted(crowd.database, promo_id).likes == card["like_count"] == int(card["is_liked_by_user"])


def test_second_like_waits_for_the_first(api: Api, crowd: Runtime, stage: Stage) -> None:
    """Likes of one user that wait for the promo's row one behind the other are one like; unlikes likewise take one."""
    promo_id = api.sign_up_company().create_promo()
    user, other = api.sign_up_user(), api.sign_up_user()
    path = f"/user/promo/{promo_id}/like"
    with stage.holding(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(*[partial(user.post, path)] * 4, partial(other.post, path))
    assert {answer.status_code for answer in queue.results()} == {200}
    assert recounted(crowd.database, promo_id).likes == 2
    with stage.holding(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(*[partial(user.delete, path)] * 4)
    assert {answer.status_code for answer in queue.results()} == {200}
    assert recounted(crowd.database, promo_id).likes == 1
