"""Requests repeated with the same Idempotency-Key get the stored response and have no second effect."""

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

_LIFETIME = timedelta(hours=24)
_NOON = datetime(2025, 1, 10, 9, tzinfo=UTC)
_COMMENT = {"text": "The cappuccino was worth it."}


@dataclass
class Scene:
    """A company, a user and a promo, and requests that accept a key."""

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
        """Create another promo."""
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
def test_replay_has_no_second_effect(scene: Scene, name: str) -> None:
    """A repeated request gets the same status and body, with Idempotent-Replayed, and changes nothing."""
    send = _OPERATIONS[name]
    first = send(scene, "key-1")
    assert first.status_code in (200, 201)
    assert "Idempotent-Replayed" not in first.headers
    effects = _effects(scene)
    for _ in range(3):
        replay = send(scene, "key-1")
        assert (replay.status_code, replay.content) == (first.status_code, first.content)
        assert replay.headers["Idempotent-Replayed"] == "true"
    assert _effects(scene) == effects


@pytest.mark.parametrize("name", _OPERATIONS)
def test_other_keys_are_other_requests(scene: Scene, name: str) -> None:
    """Without a key, or with another key or case of letters, the same request runs again."""
    responses = [_OPERATIONS[name](scene, key) for key in ("key-a", "key-A", None)]
    assert {response.status_code for response in responses} <= {200, 201}
    assert len({response.content for response in responses}) == 3
    assert not any("Idempotent-Replayed" in response.headers for response in responses)


def test_same_key_for_another_request(scene: Scene) -> None:
    """A key that was used for another request to the operation is 422, and nothing changes."""
    other = scene.company.create_promo(max_count=5)
    assert [scene.activate("key").status_code, scene.comment("key").status_code] == [200, 201]
    assert scene.create("key").status_code == 201
    effects = _effects(scene)
    for response in (
        scene.activate("key", other),
        scene.comment("key", text="It was not worth it."),
        scene.create("key", max_count=1001),
    ):
        assert response.status_code == 422
        assert "Use a new key" in response.json()["message"]
    assert _effects(scene) == effects
    assert scene.company.get(f"/business/promo/{other}").json()["used_count"] == 0


def test_order_of_members_does_not_matter(scene: Scene) -> None:
    """The order of members in a body does not matter."""
    body = promo_body(target={"country": "fr", "age_from": 3})
    reordered = dict(reversed(body.items())) | {"target": {"age_from": 3, "country": "fr"}}
    responses = [
        scene.company.post("/business/promo", json=each, headers=_headers("key")) for each in (body, reordered)
    ]
    assert [response.status_code for response in responses] == [201, 201]
    assert responses[0].json() == responses[1].json()


@pytest.mark.usefixtures("each_form")
def test_keys_belong_to_one_account(api: Api, scene: Scene) -> None:
    """The same key of another user, or for another operation, is a different key."""
    first = scene.activate("key").json()["promo"]
    other = Scene(scene.company, api.sign_up_user(), scene.promo_id)
    response = other.activate("key")
    assert response.status_code == 200
    assert response.json()["promo"] != first
    assert scene.comment("key").status_code == 201


def test_refusals_are_not_stored(scene: Scene) -> None:
    """A refused request can be repeated with its key, and succeed."""
    promo_id = scene.company.create_promo(max_count=0)
    assert scene.activate("key", promo_id).status_code == 403
    scene.company.patch(f"/business/promo/{promo_id}", json={"max_count": 1})
    response = scene.activate("key", promo_id)
    assert response.status_code == 200
    assert "Idempotent-Replayed" not in response.headers


def test_response_outlives_its_subject(scene: Scene) -> None:
    """A stored response is replayed after the promo became inactive and the comment was edited and deleted."""
    activated, commented = scene.activate("key"), scene.comment("key")
    scene.company.patch(f"/business/promo/{scene.promo_id}", json={"active_until": "2020-01-01"})
    path = f"/user/promo/{scene.promo_id}/comments/{commented.json()['id']}"
    scene.user.put(path, json={"text": "On second thoughts."})
    assert scene.comment("key").content == commented.content
    scene.user.delete(path)
    assert scene.comment("key").content == commented.content
    assert scene.activate("key").content == activated.content


def test_token_comes_first(scene: Scene) -> None:
    """A replay needs a valid token."""
    scene.activate("key")
    token, scene.user.token = scene.user.token, "no token"
    assert scene.activate("key").status_code == 401
    scene.user.token = token
    assert scene.activate("key").status_code == 200


@pytest.mark.parametrize("key", ["", "a b", "a" * 256, "caf\xe9", "a\tb"])
def test_invalid_keys(scene: Scene, key: str) -> None:
    """A key has 1 to 255 visible ASCII characters; another key is refused, and nothing changes."""
    response = scene.user.post(
        f"/user/promo/{scene.promo_id}/activate", headers={"Idempotency-Key": key.encode("latin-1")}
    )
    assert response.status_code == 400
    assert response.json()["details"][0]["pointer"] == "/Idempotency-Key"
    assert _effects(scene)[0] == 0


@pytest.mark.parametrize("key", ["!", "~" * 255, '"quoted"', "a,b;c='d'"])
def test_valid_keys(scene: Scene, key: str) -> None:
    """A key may contain any visible ASCII character."""
    assert [scene.activate(key).content for _ in range(2)] == [scene.activate(key).content] * 2
    assert _effects(scene)[0] == 1


@pytest.mark.usefixtures("each_form")
def test_expired_key(scene: Scene, clock: Clock) -> None:
    """A response is stored for exactly IDEMPOTENCY_LIFETIME_H; after that the key is new."""
    clock.stopped_at = _NOON
    first = scene.activate("key").json()["promo"]
    clock.stopped_at = _NOON + _LIFETIME - timedelta(microseconds=1)
    assert scene.activate("key").json()["promo"] == first
    clock.stopped_at = _NOON + _LIFETIME
    response = scene.activate("key")
    assert (response.status_code, "Idempotent-Replayed" in response.headers) == (200, False)
    assert response.json()["promo"] != first
    assert scene.activate("key").content == response.content


def test_response_and_effect_are_one_transaction(scene: Scene, runtime: Runtime) -> None:
    """A response is stored with its effect, and not stored if the effect is rolled back."""
    comment = f"/user/promo/{uuid4()}/comments"
    key = str(uuid4())
    assert scene.user.post(comment, json=_COMMENT, headers=_headers(key)).status_code == 404
    with runtime.database.autocommit() as connection:
        stored = select(stored_responses.c.status).where(stored_responses.c.key == key)
        assert connection.scalars(stored).all() == []
        assert scene.activate(key).status_code == 200
        assert connection.scalars(stored).all() == [200]
    assert recounted(runtime.database, scene.promo_id).uses == 1
    assert UUID(scene.promo_id)
