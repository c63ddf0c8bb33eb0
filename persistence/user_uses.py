"""The number of activations of a user.

On one server claims keep it in user_uses. On several servers a claim changes the tables of one promo only, so the
activations are counted, on each server its own.
"""

from uuid import UUID

from sqlalchemy import Connection, Uuid, bindparam, func, select

from persistence.database.statements import Statement, is_distributed
from persistence.schema.tables import activations, user_uses

_USER_ID = bindparam("user", type_=Uuid)
USES = select(user_uses.c.activations_count).where(user_uses.c.user_id == _USER_ID)
_FIND = Statement(USES)
_COUNT = Statement(select(func.count()).select_from(activations).where(activations.c.user_id == _USER_ID))


def count_uses(connection: Connection, user_id: UUID) -> int:
    """Return the number of activations of the user."""
    statement = _COUNT if is_distributed(connection) else _FIND
    return int(statement.value(connection, {"user": user_id}) or 0)
