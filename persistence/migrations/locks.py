"""Locks of tables that migrations change while requests run."""

from random import uniform
from time import sleep

from alembic import op
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

# Shorter than the deadlock_timeout of PostgreSQL, which is one second: no request is aborted.
_WAIT_MAX_MS = 500
_PAUSE_S = 0.2


def lock_tables(*names: str) -> None:
    """Lock tables against any access until the end of the transaction.

    Requests lock tables in any order, so a wait may be a deadlock. It is given up after half a second, in which new
    requests wait, and repeated.
    """
    connection = op.get_bind()
    is_locked = False
    while not is_locked:
        connection.execute(text(f"SET LOCAL statement_timeout = {_WAIT_MAX_MS}"))
        try:
            with connection.begin_nested():
                connection.execute(text(f"LOCK TABLE {', '.join(names)} IN ACCESS EXCLUSIVE MODE"))
            is_locked = True
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != "57014":  # query_canceled
                raise
            sleep(uniform(_PAUSE_S, 2 * _PAUSE_S))  # noqa: S311
    connection.execute(text("SET LOCAL statement_timeout = 0"))
