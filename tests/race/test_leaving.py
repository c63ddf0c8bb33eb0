"""Users who delete their account while they do something else: nothing fails with a 5xx, and nothing comes back."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Table, text, update

from persistence.tables import comments, metadata, promo_counters, user_uses, users
from promo_api.runtime import Runtime
from promo_api.sandbox.processes import wait_until
from tests.accounts import PASSWORD, Account, Api
from tests.race.deletion import close, delete_rows
from tests.race.interleaving import Stage, together
from tests.race.recount import recounted

_TEXT = {"text": "What was said last"}
_PATIENCE_S = 30
Job = Callable[[], Any]


def _id(crowd: Runtime, user: Account) -> UUID:
    claims = crowd.tokens.read(user.token, "user")
    assert claims is not None
    return claims.account_id


def _leaving(user: Account, password: str = PASSWORD) -> Job:
    return partial(user.api.call, "DELETE", "/user/profile", token=user.token, json={"password": password})


def _signing_in(user: Account) -> Job:
    return partial(
        user.api.call, "POST", "/user/auth/sign-in", json={"email": user.body["email"], "password": PASSWORD}
    )


def _rows_of(crowd: Runtime, user_id: UUID) -> list[str]:
    """Return the rows of all tables that have the id of the user in them."""
    with crowd.database.autocommit() as connection:
        return [
            row
            for table in metadata.sorted_tables
            for row in connection.scalars(
                text(f"SELECT {table.name}::text FROM {table.name} WHERE {table.name}::text LIKE :id"),  # noqa: S608
                {"id": f"%{user_id}%"},
            )
        ]


def _is_gone(crowd: Runtime, user_id: UUID) -> bool:
    """Return whether no table has the id any more, as soon as a background job has seen to that."""
    return wait_until(lambda: _rows_of(crowd, user_id) == [], _PATIENCE_S)


class _Doer:
    """A user who has done something with a promo, and what they may do with it once more."""

    def __init__(self, api: Api, promo_id: str) -> None:
        self.user = api.sign_up_user()
        self.path = f"/user/promo/{promo_id}"
        self.comment_path = f"{self.path}/comments/{self.user.post(f'{self.path}/comments', json=_TEXT).json()['id']}"

    def jobs(self) -> dict[str, Job]:
        """Return what writes something for the user, by name."""
        user, keyed = self.user, {"Idempotency-Key": str(uuid4())}
        return {
            "activate": partial(user.post, f"{self.path}/activate"),
            "activate, repeatable": partial(user.post, f"{self.path}/activate", headers=keyed),
            "like": partial(user.post, f"{self.path}/like"),
            "unlike": partial(user.delete, f"{self.path}/like"),
            "comment": partial(user.post, f"{self.path}/comments", json=_TEXT),
            "comment, repeatable": partial(user.post, f"{self.path}/comments", json=_TEXT, headers=keyed),
            "change a comment": partial(user.put, self.comment_path, json={"text": "Another text of it"}),
            "change the profile": partial(user.patch, "/user/profile", json={"name": "Bob"}),
            "sign in": _signing_in(user),
            "sign out": partial(user.post, "/user/auth/sign-out"),
            "export": partial(user.get, "/user/export"),
            "leave": _leaving(user),
        }


_NAMES = [
    "activate", "activate, repeatable", "like", "unlike", "comment", "comment, repeatable", "change a comment",
    "change the profile", "sign in", "sign out", "export", "leave",
]  # fmt: skip
# Jobs that wait for a row that the deletion has locked: their status once the deletion is finished...
_REFUSED = {
    "activate": 401, "activate, repeatable": 401, "like": 401, "comment": 401, "comment, repeatable": 401,
    "change a comment": 403, "change the profile": 401, "sign in": 401, "leave": 401,
}  # fmt: skip
# ...and once the account is closed, while the row of the user still exists.
_OUTLIVES_THE_CLOSE = {
    "activate": 200, "activate, repeatable": 200, "like": 200, "comment": 201, "comment, repeatable": 201,
    "change the profile": 401, "sign in": 401, "leave": 401,
}  # fmt: skip


@pytest.fixture
def promo_id(api: Api) -> str:
    """A promo with much room."""
    return api.sign_up_company().create_promo()


def test_jobs_are_all_there(api: Api, promo_id: str) -> None:
    """The names are those of the jobs."""
    assert [*_Doer(api, promo_id).jobs()] == _NAMES
    assert _REFUSED.keys() <= set(_NAMES)


@pytest.mark.parametrize("has_used", [False, True], ids=["first use", "further use"])
@pytest.mark.parametrize("name", _REFUSED)
def test_write_after_the_deletion(
    api: Api, crowd: Runtime, stage: Stage, promo_id: str, name: str, has_used: bool
) -> None:
    """A request that passed authentication before the deletion, and writes after it, is refused and records nothing."""
    doer = _Doer(api, promo_id)
    if has_used:
        doer.user.post(f"{doer.path}/activate")
    doer.user.post(f"{doer.path}/comments", json=_TEXT, headers={"Idempotency-Key": "one"})
    user_id, counts = _id(crowd, doer.user), recounted(crowd.database, promo_id)
    with stage.queue() as queue, crowd.database.transaction() as deletion:
        assert close(deletion, user_id)
        delete_rows(deletion, user_id)
        queue.add(doer.jobs()[name])
    assert [answer.status_code for answer in queue.results()] == [_REFUSED[name]]
    assert _rows_of(crowd, user_id) == []
    assert recounted(crowd.database, promo_id) == counts


@pytest.mark.parametrize("has_used", [False, True], ids=["first use", "further use"])
@pytest.mark.parametrize("name", _OUTLIVES_THE_CLOSE)
def test_write_after_the_close(
    api: Api, crowd: Runtime, stage: Stage, promo_id: str, name: str, has_used: bool
) -> None:
    """A request that passed authentication before the close may write after it; its rows go with the others."""
    doer = _Doer(api, promo_id)
    if has_used:
        doer.user.post(f"{doer.path}/activate")
    user_id = _id(crowd, doer.user)
    with stage.queue() as queue, crowd.database.transaction() as deletion:
        assert close(deletion, user_id)
        queue.add(doer.jobs()[name])
    assert [answer.status_code for answer in queue.results()] == [_OUTLIVES_THE_CLOSE[name]]
    assert _is_gone(crowd, user_id)
    recounted(crowd.database, promo_id)


@pytest.mark.parametrize(
    ("table", "name"),
    [(promo_counters, "activate"), (promo_counters, "activate, repeatable"), (promo_counters, "like"),
     (promo_counters, "comment"), (promo_counters, "comment, repeatable"), (user_uses, "activate")],
)  # fmt: skip
def test_who_leaves_while_others_wait(
    api: Api, crowd: Runtime, stage: Stage, promo_id: str, table: Table, name: str
) -> None:
    """A deletion waits neither for a request that waits in the middle of its write, nor for a row that others hold."""
    doer = _Doer(api, promo_id)
    doer.user.post(f"{doer.path}/activate")
    user_id = _id(crowd, doer.user)
    key = {"promo_id": UUID(promo_id)} if table is promo_counters else {"user_id": user_id}
    with stage.holding(table, **key) as (_, queue):
        queue.add(doer.jobs()[name])
        assert _leaving(doer.user)().status_code == 200
        assert doer.user.get("/user/profile").status_code == 401
    statuses = {answer.status_code for answer in queue.results()}
    assert statuses <= {200, 201, 401}
    assert _is_gone(crowd, user_id)
    recounted(crowd.database, promo_id)


def test_comment_is_changed_while_its_author_leaves(api: Api, crowd: Runtime, stage: Stage, promo_id: str) -> None:
    """A deletion does not wait for a change of a row of the user, and moves that row afterwards."""
    doer = _Doer(api, promo_id)
    comment_id, user_id = UUID(doer.comment_path.rpartition("/")[2]), _id(crowd, doer.user)
    with stage.holding(comments, id=comment_id) as (holder, _):
        assert _leaving(doer.user)().status_code == 200
        holder.execute(update(comments).where(comments.c.id == comment_id).values(text="Said otherwise"))
    assert _is_gone(crowd, user_id)


@pytest.mark.parametrize("name", _NAMES)
def test_at_once(api: Api, crowd: Runtime, promo_id: str, name: str) -> None:
    """Users who leave at the moment at which they do something: nothing fails, and nothing of them is left."""
    doers = [_Doer(api, promo_id) for _ in range(6)]
    ids = [_id(crowd, doer.user) for doer in doers]
    jobs = [job for doer in doers for job in (_leaving(doer.user), doer.jobs()[name])]
    statuses = {answer.status_code for answer in together(jobs)}
    assert statuses <= {200, 201, 401, 403}
    for user_id, doer in zip(ids, doers, strict=True):
        # Where a sign-in or a sign-out has ended the token first, the deletion was refused.
        if _leaving(doer.user)().status_code == 401 and _signing_in(doer.user)().status_code == 401:
            assert _is_gone(crowd, user_id)
    recounted(crowd.database, promo_id)


def test_others_of_the_batch(api: Api, crowd: Runtime, stage: Stage, promo_id: str) -> None:
    """Activations that are counted together with one of a user who has left are granted."""
    leaver, others = api.sign_up_user(), [api.sign_up_user() for _ in range(5)]
    activate = f"/user/promo/{promo_id}/activate"
    with stage.holding(promo_counters, promo_id=UUID(promo_id)) as (_, queue):
        queue.add(partial(others[0].post, activate))
        jobs = [queue._threads.submit(user.post, activate) for user in (leaver, *others[1:])]
        assert _leaving(leaver)().status_code == 200
    statuses = [job.result(30).status_code for job in jobs]
    assert (statuses[1:], statuses[0] in (200, 401)) == ([200] * 4, True)
    assert _is_gone(crowd, _id(crowd, leaver))
    assert recounted(crowd.database, promo_id).uses == 5 + (statuses[0] == 200)


def test_password_changed_meanwhile(api: Api, crowd: Runtime, stage: Stage) -> None:
    """A deletion whose password has changed since it was checked is refused."""
    user = api.sign_up_user()
    new_hash = crowd.passwords.hash("An0ther!pass")
    with stage.holding(users, id=_id(crowd, user)) as (holder, queue):
        queue.add(_leaving(user))
        holder.execute(update(users).where(users.c.id == _id(crowd, user)).values(password_hash=new_hash))
    assert [answer.status_code for answer in queue.results()] == [403]
    assert user.get("/user/profile").status_code == 200
