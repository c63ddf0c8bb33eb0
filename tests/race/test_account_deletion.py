"""Account deletion during other requests of the user: no 5xx, and no data remain."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Table, update

from persistence.schema.tables import comments, promo_counters, user_uses, users
from promo_api.dev.processes import wait_until
from promo_api.runtime import Runtime
from tests.accounts import PASSWORD, Account, Api
from tests.race.consistency import recounted
from tests.race.deletion import close, rows_of
from tests.race.interleaving import Stage, together

_TEXT = {"text": "The last comment"}
_TIMEOUT_S = 30
Job = Callable[[], Any]


def _id(runtime: Runtime, user: Account) -> UUID:
    claims = runtime.tokens.read(user.token, "user")
    return claims.account_id


def _deletion(user: Account, password: str = PASSWORD) -> Job:
    return partial(user.api.call, "DELETE", "/user/profile", token=user.token, json={"password": password})


def _sign_in(user: Account) -> Job:
    return partial(
        user.api.call, "POST", "/user/auth/sign-in", json={"email": user.body["email"], "password": PASSWORD}
    )


def _is_deleted(runtime: Runtime, user_id: UUID) -> bool:
    """Wait until a background job has removed all rows with the user ID, and return whether it has."""
    return wait_until(lambda: rows_of(runtime.database, user_id) == [], _TIMEOUT_S)


class _Client:
    """A user with a comment on a promo, and further requests of that user."""

    def __init__(self, api: Api, promo_id: str) -> None:
        self.user = api.sign_up_user()
        self.path = f"/user/promo/{promo_id}"
        self.comment_path = f"{self.path}/comments/{self.user.post(f'{self.path}/comments', json=_TEXT).json()['id']}"

        other = api.sign_up_user()
        self.other_path = f"{self.path}/comments/{other.post(f'{self.path}/comments', json=_TEXT).json()['id']}"

    def jobs(self) -> dict[str, Job]:
        """Return requests that write for the user, by name."""
        user, headers = self.user, {"Idempotency-Key": str(uuid4())}
        return {
            "activate": partial(user.post, f"{self.path}/activate"),
            "activate with a key": partial(user.post, f"{self.path}/activate", headers=headers),
            "like": partial(user.post, f"{self.path}/like"),
            "unlike": partial(user.delete, f"{self.path}/like"),
            "comment": partial(user.post, f"{self.path}/comments", json=_TEXT),
            "comment with a key": partial(user.post, f"{self.path}/comments", json=_TEXT, headers=headers),
            "change a comment": partial(user.put, self.comment_path, json={"text": "Another text of it"}),
            "report": partial(user.post, f"{self.other_path}/report", json={"reason": "spam"}),
            "change the profile": partial(user.patch, "/user/profile", json={"name": "Bob"}),
            "sign in": _sign_in(user),
            "sign out": partial(user.post, "/user/auth/sign-out"),
            "export": partial(user.get, "/user/export"),
            "delete the account": _deletion(user),
        }


_NAMES = [
    "activate", "activate with a key", "like", "unlike", "comment", "comment with a key", "change a comment",
    "report", "change the profile", "sign in", "sign out", "export", "delete the account",
]  # fmt: skip
# Jobs that write to a promo, and their status if the account is closed after their authentication...
_LATE = {"activate": 200, "activate with a key": 200, "like": 200, "comment": 201, "comment with a key": 201}
# ...and jobs that wait for the row of the user while it is being closed.
_REFUSED = ["change the profile", "sign in", "delete the account"]


@pytest.fixture
def promo_id(api: Api) -> str:
    """A promo with a high limit."""
    return api.sign_up_company().create_promo()


def test_names_of_jobs(api: Api, promo_id: str) -> None:
    """The tables of names and statuses match the jobs."""
    assert [*_Client(api, promo_id).jobs()] == _NAMES
    assert {*_LATE, *_REFUSED} <= set(_NAMES)


@pytest.mark.parametrize("has_activated", [False, True], ids=["first activation", "further activation"])
@pytest.mark.parametrize("name", _LATE)
def test_write_after_the_deletion(
    api: Api, runtime: Runtime, stage: Stage, promo_id: str, name: str, has_activated: bool
) -> None:
    """A request that passed authentication before the close may write when all rows are deleted; so are its rows."""
    client = _Client(api, promo_id)
    if has_activated:
        client.user.post(f"{client.path}/activate")
    user_id = _id(runtime, client.user)
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(client.jobs()[name])
        assert _deletion(client.user)().status_code == 200
        assert _is_deleted(runtime, user_id)
    assert [response.status_code for response in queue.results()] == [_LATE[name]]
    assert _is_deleted(runtime, user_id)
    recounted(runtime.database, promo_id)


@pytest.mark.parametrize("name", _REFUSED)
def test_request_during_the_close(api: Api, runtime: Runtime, stage: Stage, promo_id: str, name: str) -> None:
    """A request that changes the account waits for the close, and is refused then."""
    client = _Client(api, promo_id)
    user_id = _id(runtime, client.user)
    with stage.queue() as queue, runtime.database.transaction() as deletion:
        assert close(deletion, user_id)
        queue.add(client.jobs()[name])
    assert [response.status_code for response in queue.results()] == [401]
    assert _is_deleted(runtime, user_id)
    recounted(runtime.database, promo_id)


@pytest.mark.parametrize("name", _LATE)
def test_deletion_does_not_wait(api: Api, runtime: Runtime, stage: Stage, promo_id: str, name: str) -> None:
    """A deletion does not wait for a blocked request of the user."""
    client = _Client(api, promo_id)
    client.user.post(f"{client.path}/activate")
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(client.jobs()[name])
        assert _deletion(client.user)().status_code == 200
        assert client.user.get("/user/profile").status_code == 401
    assert [response.status_code for response in queue.results()] == [_LATE[name]]
    assert _is_deleted(runtime, _id(runtime, client.user))
    recounted(runtime.database, promo_id)


@pytest.mark.parametrize("table", [user_uses, comments], ids=str)
def test_deletion_during_a_change_of_a_row(
    api: Api, runtime: Runtime, stage: Stage, promo_id: str, table: Table
) -> None:
    """A deletion waits for the change of a row of the user, and then deletes or hands over that row."""
    client = _Client(api, promo_id)
    client.user.post(f"{client.path}/activate")
    user_id = _id(runtime, client.user)
    key = {"id": UUID(client.comment_path.rpartition("/")[2])} if table is comments else {"user_id": user_id}
    with stage.lock_row(table, **key) as (_, queue):
        queue.add(_deletion(client.user))
    assert [response.status_code for response in queue.results()] == [200]
    assert _is_deleted(runtime, user_id)
    recounted(runtime.database, promo_id)


@pytest.mark.parametrize("name", _NAMES)
def test_concurrent_deletion_and_request(api: Api, runtime: Runtime, promo_id: str, name: str) -> None:
    """If users concurrently delete their account and send another request, no request fails and no data remain."""
    clients = [_Client(api, promo_id) for _ in range(6)]
    ids = [_id(runtime, client.user) for client in clients]
    jobs = [job for client in clients for job in (_deletion(client.user), client.jobs()[name])]
    statuses = {response.status_code for response in together(jobs)}
    assert statuses <= {200, 201, 401, 403}
    for user_id, client in zip(ids, clients, strict=True):
        # If a sign-in or a sign-out revoked the token first, the deletion was refused.
        if _deletion(client.user)().status_code == 401 and _sign_in(client.user)().status_code == 401:
            assert _is_deleted(runtime, user_id)
    recounted(runtime.database, promo_id)


def test_coalesced_activations(api: Api, runtime: Runtime, stage: Stage, promo_id: str) -> None:
    """Activations that are coalesced with one of a deleted user succeed."""
    deleted, others = api.sign_up_user(), [api.sign_up_user() for _ in range(5)]
    activate = f"/user/promo/{promo_id}/activate"
    with stage.lock_row(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(partial(others[0].post, activate))
        jobs = [queue._threads.submit(user.post, activate) for user in (deleted, *others[1:])]
        assert _deletion(deleted)().status_code == 200
    statuses = [job.result(30).status_code for job in jobs]
    assert (statuses[1:], statuses[0] in (200, 401)) == ([200] * 4, True)
    assert _is_deleted(runtime, _id(runtime, deleted))
    assert recounted(runtime.database, promo_id).uses == 5 + (statuses[0] == 200)


def test_password_changed_during_the_deletion(api: Api, runtime: Runtime, stage: Stage) -> None:
    """A deletion is refused if the password changes after it was checked."""
    user = api.sign_up_user()
    new_hash = runtime.passwords.hash("An0ther!pass")
    with stage.lock_row(users, id=_id(runtime, user)) as (holder, queue):
        queue.add(_deletion(user))
        holder.execute(update(users).where(users.c.id == _id(runtime, user)).values(password_hash=new_hash))
    assert [response.status_code for response in queue.results()] == [403]
    assert user.get("/user/profile").status_code == 200
