"""Moderation of comments during other requests: exact counts, and nothing written after a company disabled comments."""

from collections import Counter
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, update

from persistence.consistency import (
    count_mismatched_change_numbers,
    count_mismatched_changes,
    count_mismatched_comments,
    count_mismatched_reports,
)
from persistence.schema.tables import comment_reports, comments, promo_counters, promos
from promo_api.runtime import Runtime
from tests.accounts import Account, Api
from tests.race.interleaving import Stage, together

_TEXT = {"text": "The coffee was good"}
_SPAM = {"reason": "spam"}


class _Promo:
    """A promo with a comment, its company, the author, and another user."""

    def __init__(self, api: Api) -> None:
        self.company, self.author, self.user = api.sign_up_company(), api.sign_up_user(), api.sign_up_user()
        self.id = self.company.create_promo()
        self.path = f"/business/promo/{self.id}"
        self.comments = f"/user/promo/{self.id}/comments"
        self.comment_id = self.author.post(self.comments, json=_TEXT).json()["id"]
        self.comment = f"{self.comments}/{self.comment_id}"
        self.moderated = f"{self.path}/comments/{self.comment_id}"

    def report(self, user: Account) -> Any:
        """Report the comment."""
        return user.post(f"{self.comment}/report", json=_SPAM)


@pytest.fixture
def promo(api: Api) -> _Promo:
    """A promo with a comment."""
    return _Promo(api)


@pytest.fixture(autouse=True)
def _consistent(runtime: Runtime) -> Any:
    """Recount after each test."""
    yield
    with runtime.database.autocommit() as connection:
        counts = (
            count_mismatched_comments, count_mismatched_reports, count_mismatched_changes,
            count_mismatched_change_numbers,
        )  # fmt: skip
        assert [count(connection) for count in counts] == [0] * len(counts)


@pytest.mark.parametrize("table", [promo_counters, promos], ids=["counters", "promo"])
def test_comment_waits_for_the_switch(runtime: Runtime, stage: Stage, promo: _Promo, table: Any) -> None:
    """A comment that waits while comments are disabled is refused and not counted."""
    key = {"promo_id": UUID(promo.id)} if table is promo_counters else {"id": UUID(promo.id)}
    with stage.lock_row(table, **key) as (holder, queue):
        holder.execute(update(promos).where(promos.c.id == UUID(promo.id)).values(comments_enabled=False))
        queue.add(partial(promo.user.post, promo.comments, json=_TEXT))
    assert [response.status_code for response in queue.results()] == [403]
    assert promo.user.get(f"/user/promo/{promo.id}").json()["comment_count"] == 1
    with runtime.database.transaction() as connection:
        connection.execute(update(promos).where(promos.c.id == UUID(promo.id)).values(comments_enabled=True))


def test_edit_waits_for_the_switch(stage: Stage, promo: _Promo) -> None:
    """An edit that waits while comments are disabled is refused, and one that waits while they are enabled succeeds."""
    row = update(promos).where(promos.c.id == UUID(promo.id))
    for is_enabled, status in ((False, 403), (True, 200)):
        with stage.lock_row(promos, id=UUID(promo.id)) as (holder, queue):
            holder.execute(row.values(comments_enabled=is_enabled))
            queue.add(partial(promo.author.put, promo.comment, json={"text": "It was cold after all"}))
        assert [response.status_code for response in queue.results()] == [status]


def test_switch_waits_for_comments(stage: Stage, promo: _Promo) -> None:
    """Requests that wait for one promo decide in order: only a comment before the switch succeeds."""
    comment = partial(promo.user.post, promo.comments, json=_TEXT)
    with stage.lock_row(promo_counters, promo_id=UUID(promo.id)) as (_, queue):
        # Two, because PostgreSQL wakes a third waiter in any order.
        queue.add(comment, partial(promo.company.patch, promo.path, json={"comments_enabled": False}))
    assert [response.status_code for response in (*queue.results(), comment())] == [201, 200, 403]
    assert promo.user.get(f"/user/promo/{promo.id}").json()["comment_count"] == 2


def test_removal_against_the_author(stage: Stage, promo: _Promo) -> None:
    """A removal and a deletion by the author that wait for the promo: the first succeeds, the second is a 404."""
    with stage.lock_row(promo_counters, promo_id=UUID(promo.id)) as (_, queue):
        queue.add(partial(promo.company.delete, promo.moderated), partial(promo.author.delete, promo.comment))
    assert [response.status_code for response in queue.results()] == [200, 404]
    events = [entry["event"] for entry in promo.company.get(f"{promo.path}/changes").json()]
    assert events == ["comment_removed", "created"]


def test_author_against_the_removal(stage: Stage, promo: _Promo) -> None:
    """A removal after the author's deletion is a 404, and is not recorded."""
    with stage.lock_row(promo_counters, promo_id=UUID(promo.id)) as (_, queue):
        queue.add(partial(promo.author.delete, promo.comment), partial(promo.company.delete, promo.moderated))
    assert [response.status_code for response in queue.results()] == [200, 404]
    assert [entry["event"] for entry in promo.company.get(f"{promo.path}/changes").json()] == ["created"]


def test_edits_and_reports_wait_for_the_removal(stage: Stage, promo: _Promo) -> None:
    """An edit and a report that wait while the comment is removed are a 404."""
    with stage.lock_row(comments, id=UUID(promo.comment_id)) as (holder, queue):
        holder.execute(
            update(promo_counters).where(promo_counters.c.promo_id == UUID(promo.id)).values(comment_count=0)
        )
        holder.execute(comments.delete().where(comments.c.id == UUID(promo.comment_id)))
        queue.add(
            partial(promo.author.put, promo.comment, json={"text": "It was cold after all"}),
            partial(promo.report, promo.user),
        )
    assert [response.status_code for response in queue.results()] == [404, 404]


def test_removal_waits_for_a_report(runtime: Runtime, stage: Stage, promo: _Promo) -> None:
    """A removal after a waiting report deletes the report too."""
    with stage.lock_row(comments, id=UUID(promo.comment_id)) as (_, queue):
        queue.add(partial(promo.report, promo.user), partial(promo.company.delete, promo.moderated))
    assert [response.status_code for response in queue.results()] == [200, 200]
    with runtime.database.autocommit() as connection:
        rows = select(func.count()).where(comment_reports.c.comment_id == UUID(promo.comment_id))
        assert connection.execute(rows).scalar_one() == 0


def test_mixed_storm(api: Api, promo: _Promo) -> None:
    """Removals, edits and reports at once: one removal succeeds, the others are a 404, and none fails."""
    reporters = [api.sign_up_user() for _ in range(4)]
    jobs = [partial(promo.report, user) for user in reporters]
    jobs += [partial(promo.author.put, promo.comment, json={"text": f"Edit number {n}"}) for n in range(4)]
    responses = together([*jobs, *[partial(promo.company.delete, promo.moderated)] * 4])
    assert {response.status_code for response in responses[:8]} <= {200, 404}
    assert Counter(response.status_code for response in responses[8:]) == {200: 1, 404: 3}


def test_simultaneous_reports(promo: _Promo) -> None:
    """Simultaneous reports of one user count once, and all succeed."""
    responses = together([partial(promo.report, promo.user)] * 8)
    assert [response.status_code for response in responses] == [200] * 8
    assert promo.company.get(promo.moderated).json()["reports_count"] == 1
    assert promo.company.get(f"{promo.moderated}/reports").headers["x-total-count"] == "1"
