"""Account deletion in portions: it blocks no other user, and any process can continue it."""

from datetime import date
from functools import partial
from threading import current_thread
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Table, TextClause, func, insert, select, text, update

from persistence.accounts.deletion import (
    AccountDeletion,
    claim_account_deletion,
    delete_account_portion,
    update_deletion,
)
from persistence.activations import Claim, claim_values
from persistence.comments import insert_comment
from persistence.consistency import count_mismatched_user_uses
from persistence.likes import insert_like
from persistence.schema.audit_tables import account_events, account_log
from persistence.schema.tables import account_deletions, activations, comments, likes, user_uses, users
from promo_api import sweeper
from promo_api.errors import ServiceUnavailable
from promo_api.runtime import Runtime
from tests.accounts import Api
from tests.race.consistency import recounted
from tests.race.deletion import close, rows_of
from tests.race.interleaving import Stage, pid_of, together

_COMMENTS, _MORE_COMMENTS = 2_000, 28_000
_SET_TIME = "UPDATE account_deletions SET {} = statement_timestamp() - interval '{}' WHERE user_id = :user"
_DUE, _LATE = text(_SET_TIME.format("due_at", "1 s")), text(_SET_TIME.format("closed_at", "11 min"))
_TABLES: list[Table] = [user_uses, activations, likes, comments]


_INSERT_COMMENTS = text(
    "INSERT INTO comments (promo_id, id, author_id, text, country_key)"
    " SELECT :promo, gen_random_uuid(), :user, 'One of many comments', 'ru' FROM generate_series(1, :number)"
)
_COUNT_COMMENTS = text("UPDATE promo_counters SET comment_count = comment_count + :number WHERE promo_id = :promo")


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
        """Insert comments on the promo, in several transactions, because a trigger counts each in the same row."""
        while number:
            values = {"promo": self.promo_id, "user": self.id, "number": min(number, 100)}
            number -= values["number"]
            with self._database.transaction() as connection:
                connection.execute(_INSERT_COMMENTS, values)
                connection.execute(_COUNT_COMMENTS, values)

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
        owner = table.c[{comments: "author_id", account_log: "account_id"}.get(table, "user_id")]
        with self._database.autocommit() as connection:
            return int(connection.execute(select(func.count()).where(owner == self.id)).scalar_one())

    def delete_portion(self) -> int:
        """Run one portion."""
        with self._database.autocommit() as connection:
            return delete_account_portion(connection, self.id)

    def delete_until_empty(self, *tables: Table) -> None:
        """Run portions until no row of the tables refers to the user. All counts are exact after each portion."""
        while any(self.count(table) for table in tables):
            assert self.delete_portion()
            with self._database.autocommit() as connection:
                assert count_mismatched_user_uses(connection) == 0
            recounted(self._database, str(self.promo_id))

    def delete_all(self) -> None:
        """Run portions until none is left."""
        while self.delete_portion():
            pass
        assert rows_of(self._database, self.id) == []

    def set_time(self, change: TextClause) -> None:
        """Change a time of the deletion."""
        with self._database.autocommit() as connection:
            assert connection.execute(change, {"user": self.id}).rowcount == 1

    def is_deleting(self) -> bool:
        """Return whether the deletion has not ended."""
        return self.count(account_deletions) == 1


@pytest.fixture
def closed_account(api: Api, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> _ClosedAccount:
    """A closed account, which only the test deletes: the background jobs of the application skip it."""

    def claim(*arguments: Any) -> AccountDeletion | None:
        return None if current_thread().name.startswith("job-") else claim_account_deletion(*arguments)

    monkeypatch.setattr(sweeper, "claim_account_deletion", claim)
    return _ClosedAccount(api, runtime)


@pytest.mark.parametrize("table", _TABLES, ids=str)
def test_portion_blocks_no_request(api: Api, runtime: Runtime, closed_account: _ClosedAccount, table: Table) -> None:
    """During a portion other users and late requests of the closed account activate, like and comment on the promo."""
    other = api.sign_up_user()
    if table is comments:
        closed_account.add_comments(_MORE_COMMENTS)
    path = f"/user/promo/{closed_account.promo_id}"
    closed_account.delete_until_empty(*_TABLES[: _TABLES.index(table)])
    before = closed_account.count(table)
    with runtime.database.transaction() as portion:
        assert delete_account_portion(portion, closed_account.id) == min(before, 800)
        assert other.post(f"{path}/activate").status_code == 200
        assert other.post(f"{path}/like").status_code == 200
        assert other.post(f"{path}/comments", json={"text": "Not the author"}).status_code == 201
        closed_account.like(closed_account.other_promo_id if table is likes else closed_account.promo_id)
        if table is not user_uses:
            closed_account.activate()
        with runtime.database.autocommit() as connection:
            closed_account.comment(connection)
    closed_account.delete_all()
    assert [closed_account.count(each) for each in _TABLES] == [0] * 4
    recounted(runtime.database, str(closed_account.promo_id))


@pytest.mark.parametrize("table", [user_uses, likes], ids=str)
def test_late_write_to_a_locked_row(
    runtime: Runtime, stage: Stage, closed_account: _ClosedAccount, table: Table
) -> None:
    """A late request that changes a row of the current portion waits for this portion only, and then succeeds."""
    closed_account.delete_until_empty(*_TABLES[: _TABLES.index(table)])
    with stage.queue() as queue, runtime.database.transaction() as portion:
        assert delete_account_portion(portion, closed_account.id)
        queue.add(
            closed_account.activate if table is user_uses else partial(closed_account.like, closed_account.promo_id)
        )
    queue.results()
    assert closed_account.count(table) == 1
    closed_account.delete_all()


def test_late_like(runtime: Runtime, closed_account: _ClosedAccount) -> None:
    """A late like of a promo whose like is handed over gets another owner, and the count of likes stays exact."""
    closed_account.delete_until_empty(user_uses, activations, likes)
    closed_account.like(closed_account.promo_id)
    closed_account.delete_all()
    assert recounted(runtime.database, str(closed_account.promo_id)).likes == 2


def test_uncommitted_late_write(runtime: Runtime, stage: Stage, closed_account: _ClosedAccount) -> None:
    """A deletion neither waits for an uncommitted late write nor ends. Afterwards it hands over that row too."""
    closed_account.delete_all()
    with runtime.database.transaction() as late:
        closed_account.comment(late)
        assert closed_account.delete_portion() == 0
        assert stage.waiting() == 0
    assert (closed_account.count(comments), closed_account.is_deleting()) == (1, True)
    closed_account.delete_all()


def test_changed_row(runtime: Runtime, stage: Stage, closed_account: _ClosedAccount) -> None:
    """A portion waits for the request that changes one of its rows, and hands the row over."""
    closed_account.delete_until_empty(user_uses, activations, likes)
    any_comment = select(comments.c.id).where(comments.c.author_id == closed_account.id).limit(1)
    with runtime.database.autocommit() as connection:
        comment_id = connection.execute(any_comment).scalar_one()
    with stage.lock_row(comments, id=comment_id) as (holder, queue):
        queue.add(closed_account.delete_all)
        holder.execute(update(comments).where(comments.c.id == comment_id).values(text="Another text"))
    queue.results()
    with runtime.database.autocommit() as connection:
        assert connection.scalar(select(comments.c.text).where(comments.c.id == comment_id)) == "Another text"


def test_owners(runtime: Runtime, closed_account: _ClosedAccount) -> None:
    """Each portion of each table has another owner, so that rows cannot be linked to each other."""
    closed_account.like(closed_account.other_promo_id)
    closed_account.delete_all()
    promo_ids = [closed_account.promo_id, closed_account.other_promo_id]
    with runtime.database.autocommit() as connection:
        owners = [
            set(connection.scalars(select(table.c[owner]).where(table.c.promo_id.in_(promo_ids))))
            for table, owner in ((activations, "user_id"), (likes, "user_id"), (comments, "author_id"))
        ]
        known = connection.scalars(select(users.c.id).where(users.c.id.in_(set.union(*owners)))).all()
    assert [len(each) for each in owners] == [1, 1, 3]
    assert (len(set.union(*owners)), known) == (5, [])


def test_account_with_many_events(runtime: Runtime, closed_account: _ClosedAccount) -> None:
    """Events move in portions, also those of the version before, and get one new account id. Their order stays."""
    closed_account.delete_until_empty(*_TABLES)
    key_id, rows = uuid4(), [("key_created", 900), ("key_revoked", 800)]
    with runtime.database.autocommit() as connection:
        for (event, number), table in zip(rows, (account_log, account_events), strict=True):
            owner = "account_id" if table is account_log else "user_id"
            values = {owner: closed_account.id, "event": event, "key_id": key_id}
            connection.execute(insert(table), [values] * number)
    assert [closed_account.delete_portion() for _ in range(5)] == [1600, 800, 102, 0, 0]
    assert closed_account.count(account_events) == 0
    of_key = select(account_log.c.account_id, account_log.c.event).where(account_log.c.key_id == key_id)
    with runtime.database.autocommit() as connection:
        moved = connection.execute(of_key.order_by(account_log.c.id)).all()
    assert [event for _, event in moved] == [event for event, number in rows for _ in range(number)]
    assert len({account_id for account_id, _ in moved} - {closed_account.id}) == 1


def test_process_killed_in_a_portion(runtime: Runtime, stage: Stage, closed_account: _ClosedAccount) -> None:
    """The portion of a killed process is rolled back, and another process finishes the deletion."""

    def delete_and_terminate() -> None:
        with runtime.database.transaction() as connection:
            assert delete_account_portion(connection, closed_account.id)
            stage.terminate(pid_of(connection))

    closed_account.delete_until_empty(user_uses, activations, likes)
    with pytest.raises(ServiceUnavailable):
        delete_and_terminate()
    assert closed_account.count(comments) == _COMMENTS
    job = sweeper.account_deletions_sweeper(runtime.database, runtime.forget_user)
    while closed_account.count(comments):
        closed_account.set_time(_DUE)
        job.sweep()
    assert [closed_account.count(table) for table in _TABLES] == [0] * 4
    assert recounted(runtime.database, str(closed_account.promo_id)) == (1, 1, _COMMENTS)


def test_one_process_at_a_time(runtime: Runtime, closed_account: _ClosedAccount) -> None:
    """A job skips a deletion on which another process works, unless that process has died."""

    def claim(_number: int) -> list[UUID]:
        with runtime.database.autocommit() as connection:
            return [each.user_id for each in iter(partial(claim_account_deletion, connection), None)]

    assert closed_account.id not in claim(0), "the process that closed it"
    closed_account.set_time(_DUE)
    assert [user_id for claimed in together([partial(claim, n) for n in range(4)]) for user_id in claimed].count(
        closed_account.id
    ) == 1
    with runtime.database.autocommit() as connection:
        update_deletion(connection, closed_account.id, has_rows=True)
    assert closed_account.id in claim(0)


def test_end_of_a_deletion(runtime: Runtime, closed_account: _ClosedAccount, cache: Any) -> None:
    """A deletion ends when no late request can be left. Then it also deletes what these have stored in Redis."""
    job = sweeper.account_deletions_sweeper(runtime.database, runtime.forget_user)
    closed_account.delete_all()
    closed_account.set_time(_DUE)
    job.sweep()
    assert closed_account.is_deleting()
    runtime.rate_limits.count_activation(closed_account.id)
    assert _keys_of(cache, closed_account.id)
    closed_account.activate()
    closed_account.set_time(_LATE)
    while closed_account.is_deleting():
        closed_account.set_time(_DUE)
        job.sweep()
    assert (rows_of(runtime.database, closed_account.id), _keys_of(cache, closed_account.id)) == ([], [])
    assert recounted(runtime.database, str(closed_account.promo_id)).uses == 2


def _keys_of(cache: Any, user_id: UUID) -> list[bytes]:
    return [key for key in cache.scan_iter() if str(user_id).encode() in key]
