"""Users who leave: nothing of the person stays, and whatever others count stays as it is.

All that the user did gets a new owner: a row of users with a random id and nothing else in it. So the counts of promos,
the statistics of companies and the lists of comments need not change, and no table holds the old id any more.

Why it is right at any concurrency: the row of the user is locked until the end. Whoever records something for the user
refers to that row, so PostgreSQL lets them commit before it is locked, and then the new owner gets that too; or they
wait, and are refused since the user is gone. Activations lock their row of user_uses before they refer to the user; so
does a departure, or each could wait for the other. The first of all activations makes that row: a departure that comes
upon one which it found no row to lock for gives way, and is to be tried again.
"""

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
    null,
    select,
    update,
)

from persistence.account_events import recorded
from persistence.prepared import Prepared
from persistence.tables import activations, comments, kept_answers, likes, user_uses, users

_OF_PERSON = [column.name for column in users.c if column.name not in ("id", "token_version")]
_USER_ID, _NOBODY_ID = (bindparam(name, type_=Uuid) for name in ("user", "nobody"))
_USES = select(user_uses.c.user_id).where(user_uses.c.user_id == _USER_ID)
_FIND_USES, _LOCK_USES = Prepared(_USES), Prepared(_USES.with_for_update())
_LOCK_USER = Prepared(
    select(users.c.id)
    .where(users.c.id == _USER_ID, users.c.password_hash == bindparam("checked_hash"))
    .with_for_update()
)
# The row itself goes on without a person, under another random id: what happened to the account follows it, and leads
# to nothing that the user did.
_DELETED = (
    update(users)
    .where(users.c.id == _USER_ID)
    .values(id=bindparam("gone", type_=Uuid), token_version=0, **dict.fromkeys(_OF_PERSON, null()))
    .returning(users.c.id)
    .cte("gone")
)
# So few that it takes a fraction of the time that a statement may take: users may have done any number of things.
_ROWS_AT_ONCE = 4000
_PLACE: ColumnElement[Any] = literal_column("ctid")


def _owned(owner: Column[UUID]) -> Select[Any]:
    return select(_PLACE).select_from(owner.table).where(owner == _USER_ID)


def _some(owner: Column[UUID]) -> ColumnElement[bool]:
    """Return the condition that is true for some of the rows that the user owns."""
    return any_(func.array(_owned(owner).limit(_ROWS_AT_ONCE).scalar_subquery())) == _PLACE


_MAKE_NOBODY = insert(users).values(id=_NOBODY_ID, created_at=null())
# Each as a look whether anything is left, and what then takes some of it. How much that took tells nothing: a row that
# somebody has changed meanwhile is in another place, and is passed over.
_STEPS = (
    *(
        (_owned(owner).limit(1), update(owner.table).where(_some(owner)).values({owner: _NOBODY_ID}))
        for owner in (user_uses.c.user_id, activations.c.user_id, likes.c.user_id, comments.c.author_id)
    ),
    # After the user is locked: who keeps an answer has referred to the user before, in the same transaction.
    (
        _owned(kept_answers.c.account_id).limit(1),
        delete(kept_answers).where(_some(kept_answers.c.account_id)),
    ),
)
_DELETE = Prepared(select(_DELETED.c.id).add_cte(recorded(_DELETED, users, "deleted")))


def delete_user(connection: Connection, user_id: UUID, *, checked_hash: str) -> bool:
    """Let a user leave, in a transaction.

    Args:
        connection: where to run it.
        user_id: who leaves.
        checked_hash: the hash that the password was checked against.

    Returns:
        False, and nothing has changed, if the password has changed since it was checked, there is no such user, or
        their very first activation has come at this moment: then let the transaction end, and try once more.
    """
    named = {"user": user_id, "checked_hash": checked_hash}
    had_uses = _LOCK_USES.rows(connection, named)
    if not _LOCK_USER.rows(connection, named) or had_uses != _FIND_USES.rows(connection, named):
        return False
    values = {"user": user_id, "nobody": uuid4(), "gone": uuid4()}
    connection.execute(_MAKE_NOBODY, values)
    for look, step in _STEPS:
        while connection.execute(look, values).first():
            connection.execute(step, values)
    _DELETE.rows(connection, values)
    return True
