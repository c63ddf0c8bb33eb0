"""Account deletion in batches: it blocks no other user, and any process can continue it."""

from datetime import date
from functools import partial
from threading import current_thread
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Table, func, insert, select, text

from persistence.accounts.deletion import AccountDeletion, claim_account_deletion
from persistence.activations import Claim, claim_values
from persistence.comments import insert_comment
from persistence.consistency import count_mismatched_user_uses
from persistence.likes import insert_like
from persistence.schema.audit_tables import account_events
from persistence.schema.tables import activations, comments, likes, user_uses, users
from promo_api import sweeper
from promo_api.errors import ServiceUnavailable
from promo_api.runtime import Runtime
from tests.accounts import Api
from tests.race.consistency import recounted
from tests.race.deletion import close, delete_batch
from tests.race.interleaving import Stage, pid_of

_COMMENTS, _MORE_COMMENTS = 2_000, 28_000
_CLOSE_EARLIER = text("UPDATE account_deletions SET closed_at = closed_at - interval '61 s' WHERE user_id = :user")
_TABLES: list[Table] = [user_uses, activations, likes, comments]


class _ClosedAccount:
    """A closed account that has activated, liked and commented on a promo.

    Attributes:
        id: the user ID.
        promo_id: the promo.
        other_promo_id: a promo without activations, likes and comments of the user.
    """

    def __init__(self, api: Api, runtime: Runtime) -> None:
        company = api.sign_up_company()
        self.promo_id, self.other_promo_id = (UUID(company.create_promo()) for _ in range(2))
        self._database = runtime.database
        user = api.sign_up_user()
        claims = runtime.tokens.read(user.token, "user")
        self.id = claims.account_id
        assert user.post(f"/user/promo/{self.promo_id}/activate").is_success
        assert user.post(f"/user/promo/{self.promo_id}/like").is_success
        self.add_comments(_COMMENTS)
        with runtime.database.autocommit() as connection:
            assert close(connection, self.id)

    def add_comments(self, number: int) -> None:
        """Insert comments on the promo."""
        values = {"promo": self.promo_id, "user": self.id, "number": number}
        with self._database.transaction() as connection:
            connection.execute(
                text(
                    "INSERT INTO comments (promo_id, id, author_id, text)"
                    " SELECT :promo, gen_random_uuid(), :user, 'One of many comments' FROM generate_series(1, :number)"
                ),
                values,
            )
            count = text("UPDATE promo_counters SET comment_count = comment_count + :number WHERE promo_id = :promo")
            connection.execute(count, values)

    def activate(self) -> None:
        """Activate the promo, like a request that passed authentication before the account was closed."""
        with self._database.autocommit() as connection:
            assert claim_values(connection, self.promo_id, [Claim(uuid4(), self.id, "ru", 30)], date(2026, 1, 1))

    def like(self, promo_id: UUID) -> None:
        """Like a promo, like a request that passed authentication before the account was closed."""
        with self._database.autocommit() as connection:
            assert insert_like(connection, promo_id, self.id, "ru")

    def comment(self, connection: Connection) -> None:
        """Comment on the promo, like a request that passed authentication before the account was closed."""
        assert insert_comment(
            connection, self.promo_id, comment_id=uuid4(), author_id=self.id, country_key="ru", text="A late comment"
        )

    def count(self, table: Table) -> int:
        """Return the number of rows of the table that refer to the user."""
        owner = {comments: "author_id", users: "id"}.get(table, "user_id")
        with self._database.autocommit() as connection:
            rows = select(func.count()).select_from(table).where(table.c[owner] == self.id)
            return int(connection.execute(rows).scalar_one())

    def delete_until_empty(self, *tables: Table) -> None:
        """Run batches until no row of the tables refers to the user. All counts are exact after each batch."""
        while any(self.count(table) for table in tables):
            with self._database.transaction() as connection:
                assert delete_batch(connection, self.id)
            with self._database.autocommit() as connection:
                assert count_mismatched_user_uses(connection) == 0
            recounted(self._database, str(self.promo_id))


@pytest.fixture
def closed_account(api: Api, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> _ClosedAccount:
    """A closed account, which only the test deletes: the background jobs of the application skip it."""

    def claim(*arguments: Any) -> AccountDeletion | None:
        return None if current_thread().name.startswith("job-") else claim_account_deletion(*arguments)

    monkeypatch.setattr(sweeper, "claim_account_deletion", claim)
    return _ClosedAccount(api, runtime)


@pytest.mark.parametrize("table", _TABLES, ids=str)
def test_batch_blocks_no_request(api: Api, runtime: Runtime, closed_account: _ClosedAccount, table: Table) -> None:
    """During a batch other users and late requests of the closed account activate, like and comment on the promo."""
    other = api.sign_up_user()
    if table is comments:
        closed_account.add_comments(_MORE_COMMENTS)
    path = f"/user/promo/{closed_account.promo_id}"
    closed_account.delete_until_empty(*_TABLES[: _TABLES.index(table)])
    before = closed_account.count(table)
    with runtime.database.transaction() as batch:
        assert delete_batch(batch, closed_account.id) == min(before, 800)
        assert other.post(f"{path}/activate").status_code == 200
        assert other.post(f"{path}/like").status_code == 200
        assert other.post(f"{path}/comments", json={"text": "Not the author"}).status_code == 201
        closed_account.like(closed_account.other_promo_id if table is likes else closed_account.promo_id)
        if table is not user_uses:
            closed_account.activate()
        with runtime.database.autocommit() as connection:
            closed_account.comment(connection)
    closed_account.delete_until_empty(users)
    assert [closed_account.count(each) for each in _TABLES] == [0] * 4


@pytest.mark.parametrize("table", [user_uses, likes], ids=str)
def test_late_write_to_a_locked_row(
    runtime: Runtime, stage: Stage, closed_account: _ClosedAccount, table: Table
) -> None:
    """A late request that changes a row of the current batch waits for this batch only, and then succeeds."""
    closed_account.delete_until_empty(*_TABLES[: _TABLES.index(table)])
    with stage.queue() as queue, runtime.database.transaction() as batch:
        assert delete_batch(batch, closed_account.id)
        queue.add(
            closed_account.activate if table is user_uses else partial(closed_account.like, closed_account.promo_id)
        )
    queue.results()
    assert closed_account.count(table) == 1
    closed_account.delete_until_empty(users)


def test_late_like(runtime: Runtime, closed_account: _ClosedAccount) -> None:
    """A late like of a promo whose like has moved goes to another placeholder, and the count of likes stays exact."""
    closed_account.delete_until_empty(user_uses, activations, likes)
    closed_account.like(closed_account.promo_id)
    closed_account.delete_until_empty(users)
    assert closed_account.count(likes) == 0
    assert recounted(runtime.database, str(closed_account.promo_id)).likes == 2


def test_uncommitted_late_write(runtime: Runtime, stage: Stage, closed_account: _ClosedAccount) -> None:
    """A deletion neither ends nor blocks while a late write is uncommitted. Afterwards it moves that row too."""
    closed_account.delete_until_empty(*_TABLES)
    with runtime.database.transaction() as late:
        closed_account.comment(late)
        with runtime.database.transaction() as connection:
            assert delete_batch(connection, closed_account.id) == 0
        assert stage.waiting() == 0
    assert (closed_account.count(comments), closed_account.count(users)) == (1, 1)
    closed_account.delete_until_empty(users)
    assert closed_account.count(comments) == 0


def test_account_with_many_events(runtime: Runtime, closed_account: _ClosedAccount) -> None:
    """A deletion with a long last batch runs it when no request from before the close can still be active."""
    closed_account.delete_until_empty(*_TABLES)
    event = {"user_id": closed_account.id, "event": "signed_in"}
    with runtime.database.autocommit() as connection:
        connection.execute(insert(account_events), [event] * 1000)
    with runtime.database.transaction() as connection:
        assert delete_batch(connection, closed_account.id) == 0
        assert connection.execute(_CLOSE_EARLIER, {"user": closed_account.id}).rowcount == 1
        assert delete_batch(connection, closed_account.id) == 1
    assert closed_account.count(account_events) == 0


def test_locked_row_is_skipped(runtime: Runtime, stage: Stage, closed_account: _ClosedAccount) -> None:
    """A batch skips a row that another transaction has locked. A later batch moves that row."""
    any_comment = select(comments.c.id).where(comments.c.author_id == closed_account.id).limit(1)
    with runtime.database.autocommit() as connection:
        comment_id = connection.execute(any_comment).scalar_one()
    with stage.lock_row(comments, id=comment_id):
        closed_account.delete_until_empty(user_uses, activations, likes)
        while closed_account.count(comments) > 1:
            with runtime.database.transaction() as connection:
                assert delete_batch(connection, closed_account.id)
        with runtime.database.transaction() as connection:
            assert delete_batch(connection, closed_account.id) == 0
    closed_account.delete_until_empty(users)


def test_process_killed_in_a_batch(runtime: Runtime, stage: Stage, closed_account: _ClosedAccount) -> None:
    """The batch of a killed process is rolled back, and another process finishes the deletion."""

    def delete_and_terminate() -> None:
        with runtime.database.transaction() as connection:
            assert delete_batch(connection, closed_account.id)
            stage.terminate(pid_of(connection))

    closed_account.delete_until_empty(user_uses, activations, likes)
    with pytest.raises(ServiceUnavailable):
        delete_and_terminate()
    assert closed_account.count(comments) == _COMMENTS
    job = sweeper.account_deletions_sweeper(runtime.database)
    while closed_account.count(users):
        assert job.sweep()
    assert [closed_account.count(table) for table in _TABLES] == [0] * 4
    assert recounted(runtime.database, str(closed_account.promo_id)) == (1, 1, _COMMENTS)


def test_one_process_at_a_time(runtime: Runtime, closed_account: _ClosedAccount) -> None:
    """A job skips a deletion on which another process works."""
    with runtime.database.transaction() as connection:
        assert claim_account_deletion(connection) == claim_account_deletion(connection, closed_account.id)
        assert sweeper.account_deletions_sweeper(runtime.database).sweep() == 0
    closed_account.delete_until_empty(users)
