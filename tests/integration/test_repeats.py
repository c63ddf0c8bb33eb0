"""Requests that come again with their Idempotency-Key: answered as before, and not carried out again."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from persistence.schema.tables import stored_responses
from promo_api.runtime import Runtime
from tests.accounts import Account, Api, promo_body
from tests.conftest import Clock
from tests.race.consistency import recounted

_KEPT_FOR = timedelta(hours=24)
_NOON = datetime(2025, 1, 10, 9, tzinfo=UTC)
_COMMENT = {"text": "The cappuccino was worth it."}


@dataclass
class Scene:
    """A company, a user and a promo, and what can be repeated."""

    company: Account
    user: Account
    promo_id: str

    def activate(self, key: str | None, promo_id: str = "") -> Any:
        """Activate the promo, or another."""
        return self.user.post(f"/user/promo/{promo_id or self.promo_id}/activate", headers=_headers(key))

    def comment(self, key: str | None, **changes: str) -> Any:
        """Comment on the promo."""
        path = f"/user/promo/{self.promo_id}/comments"
        return self.user.post(path, json=_COMMENT | changes, headers=_headers(key))

    def create(self, key: str | None, **changes: Any) -> Any:
        """Make another promo."""
        return self.company.post("/business/promo", json=promo_body(**changes), headers=_headers(key))


def _headers(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Idempotency-Key": key}


@pytest.fixture
def scene(api: Api) -> Scene:
    """A promo with three codes."""
    company = api.sign_up_company()
    return Scene(company, api.sign_up_user(), company.create_promo(promo_unique=["code-1", "code-2", "code-3"]))


_OPERATIONS: dict[str, Callable[[Scene, str | None], Any]] = {
    "activate": Scene.activate,
    "comment": Scene.comment,
    "create": Scene.create,
}


def _effects(scene: Scene) -> tuple[int, int, int]:
    """Return how many activations, comments and promos there are."""
    stat = scene.company.get(f"/business/promo/{scene.promo_id}/stat").json()["activations_count"]
    comments = scene.user.get(f"/user/promo/{scene.promo_id}/comments").headers["X-Total-Count"]
    return stat, int(comments), int(scene.company.get("/business/promo").headers["X-Total-Count"])


@pytest.mark.parametrize("name", _OPERATIONS)
def test_same_answer_and_no_second_effect(scene: Scene, name: str) -> None:
    """The same key and request again get the same status and body, told as a repetition, and change nothing."""
    ask = _OPERATIONS[name]
    first = ask(scene, "key-1")
    assert first.status_code in (200, 201)
    assert "Idempotent-Replayed" not in first.headers
    effects = _effects(scene)
    for _ in range(3):
        again = ask(scene, "key-1")
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert again.headers["Idempotent-Replayed"] == "true"
    assert _effects(scene) == effects


@pytest.mark.parametrize("name", _OPERATIONS)
def test_other_keys_are_other_requests(scene: Scene, name: str) -> None:
    """With another key, in another case too, or without one, the same request is carried out again."""
    answers = [_OPERATIONS[name](scene, key) for key in ("key-a", "key-A", None)]
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert len({answer.content for answer in answers}) == 3
    assert not any("Idempotent-Replayed" in answer.headers for answer in answers)


def test_same_key_for_another_request(scene: Scene) -> None:
    """A key that belongs to another request to the operation is 422, and nothing is done."""
    other = scene.company.create_promo(max_count=5)
    assert [scene.activate("key").status_code, scene.comment("key").status_code] == [200, 201]
    assert scene.create("key").status_code == 201
    effects = _effects(scene)
    for answer in (
        scene.activate("key", other),
        scene.comment("key", text="It was not worth it."),
        scene.create("key", max_count=1001),
    ):
        assert answer.status_code == 422
        assert "Use a new key" in answer.json()["message"]
    assert _effects(scene) == effects
    assert scene.company.get(f"/business/promo/{other}").json()["used_count"] == 0


def test_order_of_members_does_not_matter(scene: Scene) -> None:
    """A body is the same request however its members are ordered."""
    body = promo_body(target={"country": "fr", "age_from": 3})
    turned = dict(reversed(body.items())) | {"target": {"age_from": 3, "country": "fr"}}
    answers = [scene.company.post("/business/promo", json=each, headers=_headers("key")) for each in (body, turned)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()


def test_keys_are_the_accounts_own(api: Api, scene: Scene) -> None:
    """The same key of another user, or for another operation, has nothing to do with this one."""
    first = scene.activate("key").json()["promo"]
    other = Scene(scene.company, api.sign_up_user(), scene.promo_id)
    answer = other.activate("key")
    assert answer.status_code == 200
    assert answer.json()["promo"] != first
    assert scene.comment("key").status_code == 201


def test_refusals_are_not_remembered(scene: Scene) -> None:
    """A request that was refused may come again with its key, and succeed."""
    promo_id = scene.company.create_promo(max_count=0)
    assert scene.activate("key", promo_id).status_code == 403
    scene.company.patch(f"/business/promo/{promo_id}", json={"max_count": 1})
    answer = scene.activate("key", promo_id)
    assert answer.status_code == 200
    assert "Idempotent-Replayed" not in answer.headers


def test_answer_outlives_what_it_tells_of(scene: Scene) -> None:
    """An answer is given again though the promo is not active any more, and the comment is edited and gone."""
    activated, commented = scene.activate("key"), scene.comment("key")
    scene.company.patch(f"/business/promo/{scene.promo_id}", json={"active_until": "2020-01-01"})
    path = f"/user/promo/{scene.promo_id}/comments/{commented.json()['id']}"
    scene.user.put(path, json={"text": "On second thoughts."})
    assert scene.comment("key").content == commented.content
    scene.user.delete(path)
    assert scene.comment("key").content == commented.content
    assert scene.activate("key").content == activated.content


def test_token_comes_first(scene: Scene) -> None:
    """A repetition needs a good token, as every request does."""
    scene.activate("key")
    token, scene.user.token = scene.user.token, "no token"
    assert scene.activate("key").status_code == 401
    scene.user.token = token
    assert scene.activate("key").status_code == 200


@pytest.mark.parametrize("key", ["", "a b", "a" * 256, "caf\xe9", "a\tb"])
def test_keys_that_are_none(scene: Scene, key: str) -> None:
    """A key has 1 to 255 visible ASCII characters; with another one nothing is done."""
    answer = scene.user.post(
        f"/user/promo/{scene.promo_id}/activate", headers={"Idempotency-Key": key.encode("latin-1")}
    )
    assert answer.status_code == 400
    assert answer.json()["details"][0]["pointer"] == "/Idempotency-Key"
    assert _effects(scene)[0] == 0


@pytest.mark.parametrize("key", ["!", "~" * 255, '"quoted"', "a,b;c='d'"])
def test_keys_of_every_form(scene: Scene, key: str) -> None:
    """Each visible character may be in a key."""
    assert [scene.activate(key).content for _ in range(2)] == [scene.activate(key).content] * 2
    assert _effects(scene)[0] == 1


def test_expired_key(scene: Scene, clock: Clock) -> None:
    """An answer is kept for exactly as long as the setting says; then the key is a new one."""
    clock.standing_at = _NOON
    first = scene.activate("key").json()["promo"]
    clock.standing_at = _NOON + _KEPT_FOR - timedelta(microseconds=1)
    assert scene.activate("key").json()["promo"] == first
    clock.standing_at = _NOON + _KEPT_FOR
    answer = scene.activate("key")
    assert (answer.status_code, "Idempotent-Replayed" in answer.headers) == (200, False)
    assert answer.json()["promo"] != first
    assert scene.activate("key").content == answer.content


def test_answer_and_effect_are_one_transaction(scene: Scene, runtime: Runtime) -> None:
    """Where the effect is undone there is no answer, and nothing else that is kept tells of it."""
    comment = f"/user/promo/{uuid4()}/comments"
    key = str(uuid4())
    assert scene.user.post(comment, json=_COMMENT, headers=_headers(key)).status_code == 404
    with runtime.database.autocommit() as connection:
        kept = select(stored_responses.c.status).where(stored_responses.c.key == key)
        assert connection.scalars(kept).all() == []
        assert scene.activate(key).status_code == 200
        assert connection.scalars(kept).all() == [200]
    assert recounted(runtime.database, scene.promo_id).uses == 1
    assert UUID(scene.promo_id)
