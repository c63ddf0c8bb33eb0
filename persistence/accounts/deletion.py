"""Account deletion, in two parts.

The first closes the account, in one statement: no row of the user, no address, no valid token. The second deletes or
hands over the rows in other tables, in portions: activations, likes, comments and reports stay, so counts and lists
stay the same. They get a random id that no user has, a new one for each table and portion.

A request that was authenticated before the close may write afterwards. So the second part is repeated until no such
request can be left, see LATE_MAX.

Each portion is one transaction, which changes rows of one user in one table. It can wait for a request, and a
request for it. There is no deadlock, because no request waits for one of these rows while it has locked another.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Connection,
    Delete,
    Integer,
    Interval,
    Select,
    Uuid,
    any_,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    text,
    tuple_,
    update,
)

from persistence.accounts.addresses import delete_address
from persistence.accounts.ended_resets import end_resets
from persistence.accounts.events import record_event
from persistence.accounts.profiles import Profile, has_profile, profile_values
from persistence.database.statements import CLOCK, Statement, is_distributed
from persistence.schema.reset_tables import password_resets
from persistence.schema.tables import (
    account_deletions,
    activations,
    comment_reports,
    comments,
    likes,
    stored_responses,
    user_uses,
    users,
)
from promo_api.folding import fold

# How long after the close of its account a request may write. Every step of a request has a time limit of seconds, see
# docs/configuration.md; this leaves room for other settings and for many steps.
LATE_MAX = timedelta(seconds=600)
# Requests may wait for a portion, so it must take milliseconds.
_PORTION_ROWS = 800
# After the death of a process, another one continues its deletion.
_LEASE = text("interval '10 seconds'")


@dataclass(frozen=True)
class AccountDeletion:
    """A deletion that this process works on. `is_late`: no request from before the close is left."""

    user_id: UUID
    is_late: bool


class _HandOver:
    """Gives rows of a user a random id.

    First it reads the keys of a portion, by the index of the owner. So the UPDATE names the promos: a sharded database
    finds the rows by them.
    """

    def __init__(self, owner: Column[UUID], *order: Column[Any]) -> None:
        table = owner.table
        promo_id = table.c.promo_id
        keys = select(promo_id, *order).where(owner == _USER_ID).order_by(*order)
        self._find = Statement(keys.limit(literal_column(str(_PORTION_ROWS))))
        last = tuple_(*(bindparam(f"last_{column.name}", type_=column.type) for column in order))
        is_in_portion = (promo_id == any_(_PROMO_IDS), owner == _USER_ID, tuple_(*order) <= last)
        self._update = Statement(
            update(table).where(*is_in_portion).values({owner: bindparam("new_owner", type_=Uuid)})
        )
        self._names = [f"last_{column.name}" for column in order]

    def count(self, connection: Connection, values: dict[str, Any]) -> int:
        """Hand over a portion, and count its rows."""
        rows = self._find.rows(connection, values)
        if not rows:
            return 0
        last = dict(zip(self._names, rows[-1][1:], strict=True))
        promo_ids = sorted({row[0] for row in rows})
        self._update.count(connection, {**values, **last, "promo_ids": promo_ids, "new_owner": uuid4()})
        return len(rows)


def _close(event: str, *conditions: ColumnElement[bool]) -> Select[Any]:
    closed = delete(users).where(users.c.id == _USER_ID, *conditions).returning(users.c.id).cte("account")
    row = select(closed.c.id, func.statement_timestamp() + _LEASE)
    deletion = insert(account_deletions).from_select(["user_id", "due_at"], row)
    parts = (delete_address("user", closed), record_event(closed, event), end_resets(closed, _USER_ID))
    return select(closed.c.id).add_cte(deletion.cte("deletion"), *parts)


def _delete_responses() -> Delete:
    key = tuple_(stored_responses.c.operation, stored_responses.c.key)
    of_user = stored_responses.c.account_id == _USER_ID
    portion = select(stored_responses.c.operation, stored_responses.c.key).where(of_user)
    return delete(stored_responses).where(of_user, key.in_(portion.limit(literal_column(str(_PORTION_ROWS)))))


_USER_ID = bindparam("user", type_=Uuid)
_PROMO_IDS: ColumnElement[Any] = bindparam("promo_ids", type_=ARRAY(Uuid))
_CLOSE = Statement(_close("deleted", users.c.password_hash == bindparam("checked_hash"), has_profile()))
_CLOSE_BY_OPERATOR = Statement(_close("closed", users.c.password_hash.is_not(None)))
_STEPS = (
    # Of processes of the version before. First, because the events of an account with a row do not move.
    Statement(delete(users).where(users.c.id == _USER_ID, users.c.email_key.is_(None))),
    # A stored response may contain personal data.
    Statement(_delete_responses()),
    # A request may have stored one while the account was closed.
    Statement(delete(password_resets).where(password_resets.c.account_id == _USER_ID)),
    Statement(delete(user_uses).where(user_uses.c.user_id == _USER_ID)),
    _HandOver(activations.c.user_id, activations.c.activated_at, activations.c.id),
    _HandOver(likes.c.user_id, likes.c.promo_id),
    _HandOver(comments.c.author_id, comments.c.created_at, comments.c.id),
    _HandOver(comment_reports.c.user_id, comment_reports.c.promo_id, comment_reports.c.comment_id),
)
_LIMIT = literal_column(str(_PORTION_ROWS), Integer)
_MOVE_EVENTS = Statement(select(func.move_account_events(_LIMIT, _USER_ID)))
_HAND_OVER_EVENTS = Statement(select(func.hand_over_account_log(_USER_ID, _LIMIT)))
_deletion = account_deletions.c
_IS_DUE = _deletion.due_at <= func.statement_timestamp()
# Random, so that processes rarely choose the same one, and a failing deletion does not block others.
_FIND_DUE = Statement(select(_deletion.user_id).where(_IS_DUE).order_by(func.random()).limit(literal_column("1")))
_AGE = func.statement_timestamp() - _deletion.closed_at
_IS_OF_USER = _deletion.user_id == _USER_ID
_CLAIM = Statement(
    update(account_deletions)
    .where(_IS_OF_USER, _deletion.due_at <= CLOCK.c.now)
    .values(due_at=func.statement_timestamp() + _LEASE)
    .returning(bindparam("late", type_=Interval) <= CLOCK.c.now - _deletion.closed_at)
)
_EXTEND = Statement(update(account_deletions).where(_IS_OF_USER).values(due_at=func.statement_timestamp() + _LEASE))
_RELEASE = Statement(update(account_deletions).where(_IS_OF_USER).values(due_at=func.statement_timestamp()))
# Late writes are rare, and rarer with time.
_PAUSE = func.least(func.greatest(_AGE, text("interval '1 second'")), text("interval '1 minute'"))
# In two statements, because Citus adds no interval of a row to a time in an UPDATE.
_FIND_PAUSE = Statement(select(_PAUSE).where(_IS_OF_USER))
_POSTPONE = Statement(
    update(account_deletions)
    .where(_IS_OF_USER)
    .values(due_at=func.statement_timestamp() + bindparam("pause", type_=Interval))
)
_END = Statement(delete(account_deletions).where(_IS_OF_USER))


def close_account(
    connection: Connection, user_id: UUID, email: str, *, checked_hash: str, old_profile: Profile | None = None
) -> bool:
    """Delete the user, revoke all tokens, free the address and begin the deletion, which this process works on.

    Return False if the hash is not `checked_hash`, or the profile is not `old_profile`; None: any profile.
    """
    values = {"user": user_id, "email_key": fold(email), "checked_hash": checked_hash, **profile_values(old_profile)}
    return _CLOSE.row(connection, values) is not None


def close_account_by_operator(connection: Connection, user_id: UUID, email: str) -> bool:
    """Do the same without the password; False if the account is closed already."""
    return _CLOSE_BY_OPERATOR.row(connection, {"user": user_id, "email_key": fold(email)}) is not None


def claim_account_deletion(connection: Connection) -> AccountDeletion | None:
    """Return a deletion that is due. Others skip it until `update_deletion`, or until this process dies."""
    while (user_id := _FIND_DUE.value(connection, {})) is not None:
        row = _CLAIM.row(connection, {"user": user_id, "late": LATE_MAX})
        if row is not None:  # otherwise another process was faster
            return AccountDeletion(user_id, row[0])
    return None


def delete_account_portion(connection: Connection, user_id: UUID) -> int:
    """Delete or hand over a portion of rows, and return how many; 0: none is left. In autocommit."""
    values = {"user": user_id}
    counts = (step.count(connection, values) for step in _STEPS)
    rows = next(filter(None, counts), 0) or _hand_over_events(connection, values)
    if rows:
        _EXTEND.count(connection, values)
    return rows


def _hand_over_events(connection: Connection, values: dict[str, Any]) -> int:
    """Hand over a portion of the audit log. Several servers have no events of the version before."""
    moved = 0 if is_distributed(connection) else _MOVE_EVENTS.value(connection, values)
    return int(moved + _HAND_OVER_EVENTS.value(connection, values))


def update_deletion(connection: Connection, user_id: UUID, *, has_rows: bool) -> None:
    """Let any process continue the deletion: at once if rows are left, otherwise after a pause, for late ones."""
    values = {"user": user_id}
    if has_rows:
        _RELEASE.count(connection, values)
    else:
        _POSTPONE.count(connection, {**values, "pause": _FIND_PAUSE.value(connection, values)})


def close_account_deletion(connection: Connection, user_id: UUID) -> None:
    """End a deletion that is late and has no rows left."""
    _END.count(connection, {"user": user_id})
