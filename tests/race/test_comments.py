"""Concurrent changes of comments: exact counts, and one deletion each."""

from collections import Counter
from functools import partial
from uuid import UUID

from persistence.schema.tables import promo_counters
from promo_api.runtime import Runtime
from tests.accounts import Account, Api
from tests.race.consistency import recounted
from tests.race.interleaving import Stage, together

_TEXT = {"text": "The coffee was good"}


def _comment(user: Account, promo_id: str) -> str:
    response = user.post(f"/user/promo/{promo_id}/comments", json=_TEXT)
    assert response.status_code == 201
    return f"/user/promo/{promo_id}/comments/{response.json()['id']}"


def test_concurrent_creations_and_deletions(api: Api, runtime: Runtime) -> None:
    """With concurrent creations and duplicate deletions, the count equals the remaining comments."""
    promo_id = api.sign_up_company().create_promo()
    user, other = api.sign_up_user(), api.sign_up_user()
    paths = [_comment(user, promo_id) for _ in range(10)]
    deletions = [partial(user.delete, path) for path in paths * 2]
    creations = [partial(other.post, f"/user/promo/{promo_id}/comments", json=_TEXT)] * 20
    responses = together([job for pair in zip(deletions, creations, strict=True) for job in pair])
    assert Counter(response.status_code for response in responses) == {201: 20, 200: 10, 404: 10}
    assert recounted(runtime.database, promo_id).comments == 20
    assert other.get(f"/user/promo/{promo_id}").json()["comment_count"] == 20


def test_concurrent_deletions_of_one_comment(api: Api, runtime: Runtime, stage: Stage) -> None:
    """Of deletions of one comment that wait for the promo's row, the first succeeds; the others get 404."""
    promo_id = api.sign_up_company().create_promo()
    user = api.sign_up_user()
    path, _ = _comment(user, promo_id), _comment(user, promo_id)
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(*[partial(user.delete, path)] * 3)
    assert [response.status_code for response in queue.results()] == [200, 404, 404]
    assert recounted(runtime.database, promo_id).comments == 1


def test_concurrent_edit_and_deletion(api: Api, runtime: Runtime) -> None:
    """An edit during a deletion succeeds or gets 404, and does not restore the comment."""
    promo_id = api.sign_up_company().create_promo()
    user = api.sign_up_user()
    paths = [_comment(user, promo_id) for _ in range(12)]
    edits = [partial(user.put, path, json={"text": "It was cold after all"}) for path in paths]
    responses = together(edits + [partial(user.delete, path) for path in paths])
    assert {response.status_code for response in responses[:12]} <= {200, 404}
    assert [response.status_code for response in responses[12:]] == [200] * 12
    assert recounted(runtime.database, promo_id).comments == 0
