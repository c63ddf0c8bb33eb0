"""Moderation of comments during other requests: exact counts, and one result of each pair of requests."""

from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from persistence.accounts.deletion import delete_account_portion
from persistence.consistency import (
    count_mismatched_change_numbers,
    count_mismatched_changes,
    count_mismatched_reports,
)
from persistence.schema.tables import comment_reports, comments, promo_counters, promos, users
from promo_api.dev.processes import wait_until
from promo_api.runtime import Runtime
from tests.accounts import PASSWORD, Account, Api
from tests.race.consistency import recounted
from tests.race.interleaving import Stage, together

_TEXT, _OTHER_TEXT = {"text": "The coffee was good"}, {"text": "It was cold after all"}
_SWITCHED_OFF = {"comments_enabled": False}


class _Thread:
    """A promo with a comment, and the requests of its company, its author and another user."""

    def __init__(self, api: Api, runtime: Runtime) -> None:
        self._runtime = runtime
        self.company, self.author, self.reporter = api.sign_up_company(), api.sign_up_user(), api.sign_up_user()
        self.promo_id = self.company.create_promo()
        self.promo, self.path = f"/business/promo/{self.promo_id}", f"/user/promo/{self.promo_id}/comments"
        response = self.author.post(self.path, json=_TEXT)
        assert response.status_code == 201, response.text
        self.comment_id = response.json()["id"]
        self.comment, self.moderated = f"{self.path}/{self.comment_id}", f"{self.promo}/comments/{self.comment_id}"
        self.row = {"promo_id": UUID(self.promo_id), "id": UUID(self.comment_id)}
        self.switch_off = partial(self.company.patch, self.promo, json=_SWITCHED_OFF)
        self.write = partial(self.author.post, self.path, json=_TEXT)
        self.edit = partial(self.author.put, self.comment, json=_OTHER_TEXT)
        self.delete = partial(self.author.delete, self.comment)
        self.remove = partial(self.company.delete, self.moderated)
        self.report = self.report_by(self.reporter)
        self.delete_account = partial(
            api.call, "DELETE", "/user/profile", token=self.reporter.token, json={"password": PASSWORD}
        )

    def report_by(self, user: Account, reason: str = "spam") -> Any:
        """Return the request of a user who reports the comment."""
        return partial(user.post, f"{self.comment}/report", json={"reason": reason})

    def events(self) -> list[str]:
        """Return the events of the audit log, oldest first, after a check of all stored data."""
        with self._runtime.database.autocommit() as connection:
            assert count_mismatched_reports(connection) == 0
            assert count_mismatched_changes(connection) == 0
            assert count_mismatched_change_numbers(connection) == 0
        return [entry["event"] for entry in self.company.get(f"{self.promo}/changes").json()][::-1]

    def comments(self) -> int:
        """Return the number of comments of the promo, which its counter equals."""
        return recounted(self._runtime.database, self.promo_id).comments

    def reporters(self) -> list[UUID]:
        """Return the stored ids of the users who reported comments on the promo."""
        of_promo = select(comment_reports.c.user_id).where(comment_reports.c.promo_id == UUID(self.promo_id))
        with self._runtime.database.autocommit() as connection:
            return [*connection.scalars(of_promo)]


@pytest.fixture
def thread(api: Api, runtime: Runtime) -> _Thread:
    """A promo with a comment."""
    return _Thread(api, runtime)


def _outcomes(responses: list[Any]) -> list[Any]:
    """Return the statuses, and the codes of refusals."""
    return [r.status_code if r.is_success else (r.status_code, r.json()["code"]) for r in responses]


_DISABLED, _GONE = (403, "comments_disabled"), (404, "comment_not_found")


@pytest.mark.parametrize("is_first", [True, False], ids=["switched off first", "written first"])
def test_comment_while_comments_are_switched_off(thread: _Thread, stage: Stage, is_first: bool) -> None:
    """A new comment that waits behind the PATCH that disables comments is refused; one before it is written."""
    jobs = [thread.switch_off, thread.write]
    with stage.lock_row(promo_counters, promo_id=UUID(thread.promo_id)) as (_, queue):
        queue.add(*(jobs if is_first else jobs[::-1]))
    assert _outcomes(queue.results()) == ([200, _DISABLED] if is_first else [201, 200])
    assert thread.comments() == (1 if is_first else 2)
    assert _outcomes([thread.write()]) == [_DISABLED]
    assert thread.events() == ["created", "changed"]


@pytest.mark.parametrize("is_first", [True, False], ids=["switched off first", "edited first"])
def test_edit_while_comments_are_switched_off(thread: _Thread, stage: Stage, is_first: bool) -> None:
    """An edit that waits behind the PATCH that disables comments is refused; one before it changes the text."""
    jobs = [thread.switch_off, thread.edit]
    with stage.lock_row(promos, id=UUID(thread.promo_id)) as (_, queue):
        queue.add(*(jobs if is_first else jobs[::-1]))
    assert _outcomes(queue.results()) == ([200, _DISABLED] if is_first else [200, 200])
    text = thread.author.get(thread.comment).json()["text"]
    assert text == (_TEXT if is_first else _OTHER_TEXT)["text"]
    assert _outcomes([thread.edit(), thread.delete()]) == [_DISABLED, 200]


@pytest.mark.parametrize("is_first", [True, False], ids=["removed first", "edited first"])
def test_removal_and_edit(thread: _Thread, stage: Stage, is_first: bool) -> None:
    """An edit that waits behind the removal gets 404; one before it does not prevent the removal."""
    jobs = [thread.remove, thread.edit]
    with stage.lock_row(comments, **thread.row) as (_, queue):
        queue.add(*(jobs if is_first else jobs[::-1]))
    removed, edited = _outcomes(queue.results())[:: 1 if is_first else -1]
    # The edit reads the comment again after its commit: it may be removed then.
    assert (removed, edited in ([_GONE] if is_first else [200, _GONE])) == (200, True)
    assert thread.comments() == 0
    assert thread.events() == ["created", "comment_removed"]


@pytest.mark.parametrize("is_first", [True, False], ids=["removed first", "deleted first"])
def test_removal_and_deletion(thread: _Thread, stage: Stage, is_first: bool) -> None:
    """Of the removal and the author's deletion the first succeeds; only a removal is in the audit log."""
    jobs = [thread.remove, thread.delete]
    with stage.lock_row(promo_counters, promo_id=UUID(thread.promo_id)) as (_, queue):
        queue.add(*(jobs if is_first else jobs[::-1]))
    assert _outcomes(queue.results()) == [200, _GONE]
    assert thread.comments() == 0
    assert thread.events() == ["created", *(["comment_removed"] if is_first else [])]


@pytest.mark.parametrize("is_first", [True, False], ids=["removed first", "reported first"])
def test_removal_and_report(thread: _Thread, stage: Stage, is_first: bool) -> None:
    """A report that waits behind the removal gets 404; one before it succeeds, and is deleted with the comment."""
    jobs = [thread.remove, thread.report]
    with stage.lock_row(comments, **thread.row) as (_, queue):
        queue.add(*(jobs if is_first else jobs[::-1]))
    assert _outcomes(queue.results()) == ([200, _GONE] if is_first else [200, 200])
    assert (thread.comments(), thread.reporters()) == (0, [])
    assert thread.events() == ["created", "comment_removed"]


def test_concurrent_removals(thread: _Thread) -> None:
    """Concurrent removals and changes of a promo are numbered without a gap, and one removal of a comment succeeds."""
    changes = [partial(thread.company.patch, thread.promo, json={"max_count": 100 + n}) for n in range(6)]
    responses = together([job for change in changes for job in (change, thread.remove)])
    assert sorted(map(str, _outcomes(responses[1::2]))) == sorted(map(str, [200, *[_GONE] * 5]))
    assert sorted(thread.events()) == ["changed"] * 6 + ["comment_removed", "created"]
    assert thread.comments() == 0


def test_reports_of_one_user(thread: _Thread, stage: Stage) -> None:
    """Of reports by one user that wait for the comment, the first counts, and all get 200."""
    reports = [thread.report_by(thread.reporter, reason) for reason in ("offensive", "spam", "other")]
    with stage.lock_row(comments, **thread.row) as (_, queue):
        queue.add(*reports)
    assert _outcomes(queue.results()) == [200, 200, 200]
    assert [report["reason"] for report in thread.company.get(f"{thread.moderated}/reports").json()] == ["offensive"]
    assert thread.company.get(thread.moderated).json()["reports_count"] == 1


def test_reports_of_many_users(thread: _Thread, api: Api) -> None:
    """Each of several users who report twice at once counts once."""
    users = [api.sign_up_user() for _ in range(6)]
    responses = together([thread.report_by(user) for user in users * 2])
    assert _outcomes(responses) == [200] * 12
    assert thread.company.get(thread.moderated).json()["reports_count"] == 6
    assert thread.company.get(f"{thread.moderated}/reports").headers["X-Total-Count"] == "6"
    assert thread.events() == ["created"]


def _id(runtime: Runtime, user: Account) -> UUID:
    return runtime.tokens.read(user.token, "user").account_id


def _hand_over(runtime: Runtime, user_id: UUID) -> None:
    """Hand over the rows of a deleted user, as the background job does repeatedly."""
    with runtime.database.autocommit() as connection:
        while delete_account_portion(connection, user_id):
            pass


def test_report_after_the_deletion_of_the_account(thread: _Thread, runtime: Runtime, stage: Stage) -> None:
    """A deletion does not wait for a blocked report of the same user, which then counts, and is handed over."""
    user_id = _id(runtime, thread.reporter)
    with stage.lock_row(comments, **thread.row) as (_, queue):
        queue.add(thread.report)
        assert thread.delete_account().status_code == 200
    assert _outcomes(queue.results()) == [200]
    _hand_over(runtime, user_id)
    assert user_id not in thread.reporters()
    assert thread.company.get(thread.moderated).json()["reports_count"] == len(thread.reporters()) == 1
    assert thread.events() == ["created"]


def test_concurrent_report_and_deletion_of_the_account(api: Api, runtime: Runtime) -> None:
    """A report during the deletion of the reporter's account counts unless it is refused, without the user's id."""
    threads = [_Thread(api, runtime) for _ in range(6)]
    responses = together([job for thread in threads for job in (thread.report, thread.delete_account)])
    assert _outcomes(responses[1::2]) == [200] * 6
    for thread, response in zip(threads, responses[::2], strict=True):
        assert response.status_code in (200, 401)
        user_id = _id(runtime, thread.reporter)
        _hand_over(runtime, user_id)
        assert user_id not in thread.reporters()
        count = thread.company.get(thread.moderated).json().get("reports_count", 0)
        assert count == len(thread.reporters()) == (response.status_code == 200)
        assert thread.events() == ["created"]


def test_reports_of_a_deleted_account(thread: _Thread, runtime: Runtime) -> None:
    """The reports of a deleted account stay and count, each with a random id that is no account's."""
    other = thread.report_by(thread.reporter, "personal_data")
    assert _outcomes([thread.report(), other()]) == [200, 200]
    user_id = _id(runtime, thread.reporter)
    assert thread.delete_account().status_code == 200
    assert wait_until(lambda: user_id not in thread.reporters(), 30)
    assert len(thread.reporters()) == 1
    with runtime.database.autocommit() as connection:
        assert not [*connection.scalars(select(users.c.id).where(users.c.id.in_(thread.reporters())))]
    reports = thread.company.get(f"{thread.moderated}/reports").json()
    assert [(set(report), report["reason"]) for report in reports] == [({"reason", "date"}, "spam")]
