"""Account deletions in batches: no other user waits for one, and any process can continue or finish it."""

from datetime import date
from functools import partial
from threading import current_thread
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Table, func, insert, select, text

from persistence.account_deletions import AccountDeletion, claim_account_deletion
from persistence.activations import Claim, claim_values
from persistence.comments import insert_comment
from persistence.likes import insert_like
from persistence.recounts import count_wrong_user_uses
from persistence.tables import activations, comments, likes, user_uses, users
from persistence.trail_tables import account_events
from promo_api import sweeper
from promo_api.errors import DependencyDown
from promo_api.runtime import Runtime
from tests.accounts import Api
from tests.race.deletion import close, delete_batch
from tests.race.interleaving import Stage, pid_of
from tests.race.recount import recounted

_COMMENTS, _MORE_COMMENTS = 2_000, 28_000
_CLOSED_LONG_AGO = text("UPDATE account_deletions SET closed_at = closed_at - interval '61 s' WHERE user_id = :user")
_TABLES: list[Table] = [user_uses, activations, likes, comments]


class _Leaver:
    """A closed account that has used, liked and commented on a promo.

    Attributes:
        id: of the user.
        promo_id: the promo.
        other_promo_id: a promo that the user did nothing with.
    """

    def __init__(self, api: Api, crowd: Runtime) -> None:
        company = api.sign_up_company()
        self.promo_id, self.other_promo_id = (UUID(company.create_promo()) for _ in range(2))
        self._database = crowd.database
        user = api.sign_up_user()
        claims = crowd.tokens.read(user.token, "user")
        assert claims is not None
        self.id = claims.account_id
        assert user.post(f"/user/promo/{self.promo_id}/activate").is_success
        assert user.post(f"/user/promo/{self.promo_id}/like").is_success
        self.add_comments(_COMMENTS)
        with crowd.database.autocommit() as connection:
            assert close(connection, self.id)

    def add_comments(self, many: int) -> None:
        """Write many comments on the promo at once."""
        values = {"promo": self.promo_id, "user": self.id, "many": many}
        with self._database.transaction() as connection:
            connection.execute(
                text(
                    "INSERT INTO comments (promo_id, id, author_id, text)"
                    " SELECT :promo, gen_random_uuid(), :user, 'One of a great many' FROM generate_series(1, :many)"
                ),
                values,
            )
            counted = text("UPDATE promo_counters SET comment_count = comment_count + :many WHERE promo_id = :promo")
            connection.execute(counted, values)

    def activate(self) -> None:
        """Activate the promo, as a request does that passed authentication before the close."""
        with self._database.autocommit() as connection:
            assert claim_values(connection, self.promo_id, [Claim(uuid4(), self.id, "ru", 30)], date(2026, 1, 1))

    def like(self, promo_id: UUID) -> None:
        """Like a promo, as a request does that passed authentication before the close."""
        with self._database.autocommit() as connection:
            assert insert_like(connection, promo_id, self.id)

    def comment(self, connection: Connection) -> None:
        """Comment on the promo, as a request does that passed authentication before the close."""
        assert insert_comment(connection, self.promo_id, comment_id=uuid4(), author_id=self.id, text="A late comment")

    def count(self, table: Table) -> int:
        """Return how many rows of the table refer to the user."""
        owner = {comments: "author_id", users: "id"}.get(table, "user_id")
        with self._database.autocommit() as connection:
            rows = select(func.count()).select_from(table).where(table.c[owner] == self.id)
            return int(connection.execute(rows).scalar_one())

    def delete_until_empty(self, *tables: Table) -> None:
        """Do batches until no row of the tables refers to the user; all counts are right after each of them."""
        while any(self.count(table) for table in tables):
            with self._database.transaction() as connection:
                assert delete_batch(connection, self.id)
            with self._database.autocommit() as connection:
                assert count_wrong_user_uses(connection) == 0
            recounted(self._database, str(self.promo_id))


@pytest.fixture
def leaver(api: Api, crowd: Runtime, monkeypatch: pytest.MonkeyPatch) -> _Leaver:
    """A closed account, which the background jobs of the application leave to the test."""

    def claim(*arguments: Any) -> AccountDeletion | None:
        return None if current_thread().name.startswith("job-") else claim_account_deletion(*arguments)

    monkeypatch.setattr(sweeper, "claim_account_deletion", claim)
    return _Leaver(api, crowd)


@pytest.mark.parametrize("table", _TABLES, ids=str)
def test_nobody_waits_for_a_batch(api: Api, crowd: Runtime, leaver: _Leaver, table: Table) -> None:
    """During a batch others use, like and comment on the same promo, and so do late requests of the closed account."""
    other = api.sign_up_user()
    if table is comments:
        leaver.add_comments(_MORE_COMMENTS)
    path = f"/user/promo/{leaver.promo_id}"
    leaver.delete_until_empty(*_TABLES[: _TABLES.index(table)])
    before = leaver.count(table)
    with crowd.database.transaction() as batch:
        assert delete_batch(batch, leaver.id) == min(before, 800)
        assert other.post(f"{path}/activate").status_code == 200
        assert other.post(f"{path}/like").status_code == 200
        assert other.post(f"{path}/comments", json={"text": "Not the author"}).status_code == 201
        leaver.like(leaver.other_promo_id if table is likes else leaver.promo_id)
        if table is not user_uses:
            leaver.activate()
        with crowd.database.autocommit() as connection:
            leaver.comment(connection)
    leaver.delete_until_empty(users)
    assert [leaver.count(each) for each in _TABLES] == [0] * 4


@pytest.mark.parametrize("table", [user_uses, likes], ids=str)
def test_late_write_to_a_row_of_a_batch(crowd: Runtime, stage: Stage, leaver: _Leaver, table: Table) -> None:
    """A late request that changes a row of the running batch waits for this batch only, and then succeeds."""
    leaver.delete_until_empty(*_TABLES[: _TABLES.index(table)])
    with stage.queue() as queue, crowd.database.transaction() as batch:
        assert delete_batch(batch, leaver.id)
        queue.add(leaver.activate if table is user_uses else partial(leaver.like, leaver.promo_id))
    queue.results()
    assert leaver.count(table) == 1
    leaver.delete_until_empty(users)


def test_like_after_the_likes_have_moved(crowd: Runtime, leaver: _Leaver) -> None:
    """A late like of a promo whose like has moved goes to another placeholder; the number of likes stays right."""
    leaver.delete_until_empty(user_uses, activations, likes)
    leaver.like(leaver.promo_id)
    leaver.delete_until_empty(users)
    assert leaver.count(likes) == 0
    assert recounted(crowd.database, str(leaver.promo_id)).likes == 2


def test_late_write_before_the_end(crowd: Runtime, stage: Stage, leaver: _Leaver) -> None:
    """A deletion does not end, and does not wait, while a late write is not committed; then it moves that row too."""
    leaver.delete_until_empty(*_TABLES)
    with crowd.database.transaction() as late:
        leaver.comment(late)
        with crowd.database.transaction() as connection:
            assert delete_batch(connection, leaver.id) == 0
        assert stage.waiting() == 0
    assert (leaver.count(comments), leaver.count(users)) == (1, 1)
    leaver.delete_until_empty(users)
    assert leaver.count(comments) == 0


def test_account_with_many_events(crowd: Runtime, leaver: _Leaver) -> None:
    """A deletion whose last batch takes long does it once no request from before the close can be left."""
    leaver.delete_until_empty(*_TABLES)
    event = {"user_id": leaver.id, "event": "signed_in"}
    with crowd.database.autocommit() as connection:
        connection.execute(insert(account_events), [event] * 1000)
    with crowd.database.transaction() as connection:
        assert delete_batch(connection, leaver.id) == 0
        assert connection.execute(_CLOSED_LONG_AGO, {"user": leaver.id}).rowcount == 1
        assert delete_batch(connection, leaver.id) == 1
    assert leaver.count(account_events) == 0


def test_row_in_use_is_skipped(crowd: Runtime, stage: Stage, leaver: _Leaver) -> None:
    """A batch moves all rows but one that another transaction has locked; the next batch moves that row."""
    one = select(comments.c.id).where(comments.c.author_id == leaver.id).limit(1)
    with crowd.database.autocommit() as connection:
        comment_id = connection.execute(one).scalar_one()
    with stage.holding(comments, id=comment_id):
        leaver.delete_until_empty(user_uses, activations, likes)
        while leaver.count(comments) > 1:
            with crowd.database.transaction() as connection:
                assert delete_batch(connection, leaver.id)
        with crowd.database.transaction() as connection:
            assert delete_batch(connection, leaver.id) == 0
    leaver.delete_until_empty(users)


def test_process_dies_in_a_batch(crowd: Runtime, stage: Stage, leaver: _Leaver) -> None:
    """A batch whose process dies is undone as a whole, and another process finishes the deletion."""

    def die() -> None:
        with crowd.database.transaction() as connection:
            assert delete_batch(connection, leaver.id)
            stage.terminate(pid_of(connection))

    leaver.delete_until_empty(user_uses, activations, likes)
    with pytest.raises(DependencyDown):
        die()
    assert leaver.count(comments) == _COMMENTS
    job = sweeper.sweeper_of_deletions(crowd.database)
    while leaver.count(users):
        assert job.sweep()
    assert [leaver.count(table) for table in _TABLES] == [0] * 4
    assert recounted(crowd.database, str(leaver.promo_id)) == (1, 1, _COMMENTS)


def test_one_process_at_a_time(crowd: Runtime, leaver: _Leaver) -> None:
    """A job skips a deletion that another process works on."""
    with crowd.database.transaction() as connection:
        assert claim_account_deletion(connection) == claim_account_deletion(connection, leaver.id)
        assert sweeper.sweeper_of_deletions(crowd.database).sweep() == 0
    leaver.delete_until_empty(users)
