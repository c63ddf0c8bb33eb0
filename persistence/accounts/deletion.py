"""Account deletion: one statement removes all personal data, then batches move rows to a placeholder user.

So counts and lists stay the same. A request authenticated before the close may still insert rows.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    Uuid,
    any_,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    not_,
    null,
    or_,
    select,
    text,
    update,
)

from persistence.accounts.ended_resets import end_resets
from persistence.accounts.events import record_event
from persistence.accounts.profiles import Profile, has_profile, profile_values
from persistence.database.statements import Statement
from persistence.schema.audit_tables import account_events
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


@dataclass(frozen=True)
class AccountDeletion:
    """An unfinished deletion; the placeholder becomes the owner of the rows."""

    user_id: UUID
    placeholder_id: UUID


_PERSONAL_COLUMNS = [column.name for column in users.c if column.name not in ("id", "token_version")]
_USER_ID, _PLACEHOLDER_ID = (bindparam(name, type_=Uuid) for name in ("user", "placeholder"))
_ROW_ID: ColumnElement[Any] = literal_column("ctid")
# Requests may wait for a batch, so it must take milliseconds.
_BATCH_ROWS = 800


def _close(event: str, *conditions: ColumnElement[bool]) -> Select[Any]:
    closed = (
        update(users)
        .where(users.c.id == _USER_ID, *conditions)
        .values(token_version=0, **dict.fromkeys(_PERSONAL_COLUMNS, null()))
        .returning(users.c.id)
        .cte("account")
    )
    placeholder = insert(users).from_select(["id", "created_at"], select(_PLACEHOLDER_ID, null()).select_from(closed))
    deletion = insert(account_deletions).from_select(
        ["user_id", "placeholder_id"], select(closed.c.id, _PLACEHOLDER_ID)
    )
    return select(closed.c.id).add_cte(
        placeholder.cte("placeholder"),
        deletion.cte("deletion"),
        record_event(closed, users, event),
        end_resets(closed),
    )


def _select_owned(owner: Column[UUID]) -> Select[Any]:
    return select(_ROW_ID).select_from(owner.table).where(owner == _USER_ID)


def _in_batch(rows: Select[Any]) -> ColumnElement[bool]:
    return any_(func.array(rows.limit(_BATCH_ROWS).with_for_update(skip_locked=True).scalar_subquery())) == _ROW_ID


def _move(owner: Column[UUID], rows: Select[Any] | None = None) -> Statement:
    batch = _in_batch(_select_owned(owner) if rows is None else rows)
    return Statement(update(owner.table).where(batch).values({owner: _PLACEHOLDER_ID}))


def _delete(owner: Column[UUID]) -> Statement:
    return Statement(delete(owner.table).where(_in_batch(_select_owned(owner))))


_moved = likes.alias("moved")
# A request authenticated before the close can like a promo again after the first like has moved.
_IS_DUPLICATE = (
    select(_moved.c.promo_id).where(_moved.c.promo_id == likes.c.promo_id, _moved.c.user_id == _PLACEHOLDER_ID).exists()
)
_OWNERS = (
    user_uses.c.user_id, activations.c.user_id, likes.c.user_id, comments.c.author_id, comment_reports.c.user_id,
    stored_responses.c.account_id, password_resets.c.account_id,
)  # fmt: skip
_STEPS = (
    # First: a stored response may contain personal data.
    _delete(stored_responses.c.account_id),
    # A request may have stored one while the account was closed.
    _delete(password_resets.c.account_id),
    _delete(user_uses.c.user_id),
    _move(activations.c.user_id),
    _move(likes.c.user_id, _select_owned(likes.c.user_id).where(not_(_IS_DUPLICATE))),
    _move(comments.c.author_id),
    # Not to the placeholder: a report counts, but for no person, and not with the reports of the same user.
    Statement(
        update(comment_reports)
        .where(_in_batch(_select_owned(comment_reports.c.user_id)))
        .values(user_id=func.gen_random_uuid())
    ),
)
_CLOSE = Statement(_close("deleted", users.c.password_hash == bindparam("checked_hash"), has_profile()))
_CLOSE_BY_OPERATOR = Statement(_close("closed", users.c.password_hash.is_not(None)))
_DELETIONS = select(account_deletions.c.user_id, account_deletions.c.placeholder_id)
# Random, so that a failing deletion does not block others.
_CLAIM_ANY = Statement(_DELETIONS.order_by(func.random()).limit(1).with_for_update(skip_locked=True))
_CLAIM = Statement(_DELETIONS.where(account_deletions.c.user_id == _USER_ID).with_for_update())
_HAS_ROWS = Statement(select(or_(*(_select_owned(owner).exists() for owner in _OWNERS))))
_HAS_DUPLICATES = Statement(select(select(likes.c.promo_id).where(likes.c.user_id == _USER_ID, _IS_DUPLICATE).exists()))
_INSERT_PLACEHOLDER = Statement(insert(users).values(id=_PLACEHOLDER_ID, created_at=null()))
_REPLACE_PLACEHOLDER = Statement(
    update(account_deletions).where(account_deletions.c.user_id == _USER_ID).values(placeholder_id=_PLACEHOLDER_ID)
)
# Many events make the last batch slow. It waits a minute, so that no older request waits for it with a promo locked.
_MANY_EVENTS = select(account_events.c.id).where(account_events.c.user_id == _USER_ID).offset(_BATCH_ROWS).limit(1)
_MAY_FINISH = Statement(
    select(
        or_(not_(_MANY_EVENTS.exists()), account_deletions.c.closed_at < func.now() - text("interval '1 minute'"))
    ).where(account_deletions.c.user_id == _USER_ID)
)
_LOCK_USER = Statement(select(users.c.id).where(users.c.id == _USER_ID).with_for_update(skip_locked=True))
# ON UPDATE CASCADE moves the events. The new id is not the placeholder's, so that events cannot be linked to its rows.
_FINISH = Statement(update(users).where(users.c.id == _USER_ID).values(id=bindparam("new_id", type_=Uuid)))
_DELETE_DELETION = Statement(delete(account_deletions).where(account_deletions.c.user_id == _USER_ID))


def close_account(
    connection: Connection, user_id: UUID, *, checked_hash: str, old_profile: Profile | None = None
) -> bool:
    """Remove the personal data, revoke all tokens and begin the deletion.

    Return False if the hash is not `checked_hash`, or the profile is not `old_profile`; None: any profile.
    """
    values = {"user": user_id, "placeholder": uuid4(), "checked_hash": checked_hash, **profile_values(old_profile)}
    return _CLOSE.row(connection, values) is not None


def close_account_by_operator(connection: Connection, user_id: UUID) -> bool:
    """Do the same without the password; False if the account is closed already."""
    return _CLOSE_BY_OPERATOR.row(connection, {"user": user_id, "placeholder": uuid4()}) is not None


def claim_account_deletion(connection: Connection, user_id: UUID | None = None) -> AccountDeletion | None:
    """Lock and return the deletion of the user, or else any that is not locked."""
    row = _CLAIM_ANY.row(connection, {}) if user_id is None else _CLAIM.row(connection, {"user": user_id})
    return None if row is None else AccountDeletion(*row)


def delete_account_batch(connection: Connection, deletion: AccountDeletion) -> int:
    """Move or delete a batch of rows in the transaction of the claim, and return how many.

    0: the remaining rows are locked, so try again later.
    """
    values = {"user": deletion.user_id, "placeholder": deletion.placeholder_id}
    for step in _STEPS:
        rows = step.count(connection, values)
        if rows:
            return rows
    if _HAS_DUPLICATES.value(connection, values):
        return _replace_placeholder(connection, deletion.user_id)
    return _finish(connection, deletion.user_id)


def _replace_placeholder(connection: Connection, user_id: UUID) -> int:
    values = {"user": user_id, "placeholder": uuid4()}
    _INSERT_PLACEHOLDER.count(connection, values)
    return _REPLACE_PLACEHOLDER.count(connection, values)


def _finish(connection: Connection, user_id: UUID) -> int:
    """Remove the user id unless rows refer to it."""
    values = {"user": user_id, "new_id": uuid4()}
    # Before the lock too: a request that waits for the lock may hold a promo.
    if _HAS_ROWS.value(connection, values) or not _MAY_FINISH.value(connection, values):
        return 0
    if not _LOCK_USER.rows(connection, values):
        return 0
    # A request may have committed before the lock. None can now.
    if _HAS_ROWS.value(connection, values):
        return 0
    _DELETE_DELETION.count(connection, values)
    return _FINISH.count(connection, values)
