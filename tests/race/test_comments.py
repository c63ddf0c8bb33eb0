"""Comments: counted as they are, and deleted once."""

from collections import Counter
from functools import partial
from uuid import UUID

from persistence.tables import promo_counters
from promo_api.runtime import Runtime
from tests.accounts import Account, Api
from tests.race.interleaving import Stage, together
from tests.race.recount import recounted

_TEXT = {"text": "The coffee was good"}


def _comment(user: Account, promo_id: str) -> str:
    answer = user.post(f"/user/promo/{promo_id}/comments", json=_TEXT)
    assert answer.status_code == 201
    return f"/user/promo/{promo_id}/comments/{answer.json()['id']}"


def test_created_and_deleted_at_once(api: Api, crowd: Runtime) -> None:
    """While comments are made and deleted at once, some of them twice, each counts while it is there."""
    promo_id = api.sign_up_company().create_promo()
    user, other = api.sign_up_user(), api.sign_up_user()
    doomed = [_comment(user, promo_id) for _ in range(10)]
    deletions = [partial(user.delete, path) for path in doomed * 2]
    creations = [partial(other.post, f"/user/promo/{promo_id}/comments", json=_TEXT)] * 20
    answers = together([job for pair in zip(deletions, creations, strict=True) for job in pair])
    assert Counter(answer.status_code for answer in answers) == {201: 20, 200: 10, 404: 10}
    assert recounted(crowd.database, promo_id).comments == 20
    assert other.get(f"/user/promo/{promo_id}").json()["comment_count"] == 20


def test_second_deletion_finds_nothing(api: Api, crowd: Runtime, stage: Stage) -> None:
    """Of deletions of one comment that wait for the promo's row, the first deletes it; the others answer 404."""
    promo_id = api.sign_up_company().create_promo()
    user = api.sign_up_user()
    path, _ = _comment(user, promo_id), _comment(user, promo_id)
    with stage.holding(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(*[partial(user.delete, path)] * 3)
    assert [answer.status_code for answer in queue.results()] == [200, 404, 404]
    assert recounted(crowd.database, promo_id).comments == 1


def test_edited_and_deleted_at_once(api: Api, crowd: Runtime) -> None:
    """An edit that meets a deletion is made or finds nothing, and does not bring the comment back."""
    promo_id = api.sign_up_company().create_promo()
    user = api.sign_up_user()
    paths = [_comment(user, promo_id) for _ in range(12)]
    edits = [partial(user.put, path, json={"text": "It was cold after all"}) for path in paths]
    answers = together(edits + [partial(user.delete, path) for path in paths])
    assert {answer.status_code for answer in answers[:12]} <= {200, 404}
    assert [answer.status_code for answer in answers[12:]] == [200] * 12
    assert recounted(crowd.database, promo_id).comments == 0
