"""A PostgreSQL that says nothing: how long a request waits for it, and what the others do meanwhile.

A server that is frozen, behind a network that swallows packets, or on a disk that hangs, neither answers nor closes
its connections. Its own time limits stand still with it, and as the kernel of its machine may go on to acknowledge
what is sent, tcp_user_timeout sees nothing amiss. So the limit is kept by who waits: each wait for an answer has an
end. Rejected: a thread that shuts down the sockets of connections that are lent for too long (it can hit the next
borrower, and must be started again after each fork), and `cancel_safe` (it asks the very server that is silent).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar, cast

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine

_RV = TypeVar("_RV")


class NoAnswer(psycopg.OperationalError):
    """PostgreSQL has left a statement without an answer for too long; whether it will be done is not known."""


SILENT = (NoAnswer, psycopg.errors.ConnectionTimeout)


class LimitedConnection(psycopg.Connection[Any]):
    """A connection that is closed when an answer takes too long, since that answer could still come.

    Attributes:
        answer_limit_s: how long each wait may take, be it for a statement, a commit or a rollback; None: for ever.
        statements: runs prepared statements; one for all, since to make one costs half as much as to use it.
    """

    answer_limit_s: float | None = None
    statements: psycopg.RawCursor[Any]

    def wait(self, gen: PQGen[_RV], interval: float = 0.1, timeout: float | None = None) -> _RV:
        """Do as psycopg does, which ends up here with all that it sends on an open connection.

        Raises:
            NoAnswer: the connection is closed; closing takes no answer.
            OperationalError: among others, the connection has been lost, whatever psycopg calls it.
        """
        limit_s = self.answer_limit_s if timeout is None else timeout
        try:
            return super().wait(gen, interval, limit_s)
        except psycopg.InternalError as error:
            # A server that ends, and PgBouncer that tells so once more: two answers to one COMMIT are told as a defect.
            if self.closed:
                raise psycopg.OperationalError("the connection was closed") from error
            raise
        except psycopg.OperationalError as error:
            # An error that PostgreSQL tells, or the end of the connection, ends the conversation; this was in it.
            if self.pgconn.transaction_status != TransactionStatus.ACTIVE:
                raise
            self.close()
            raise NoAnswer(f"no answer within {limit_s} s") from error


@contextmanager
def unlimited_transaction(engine: Engine) -> Iterator[Connection]:
    """Lend a connection that waits for its answers for ever, in a transaction; it never gets into the pool again."""
    with engine.connect() as connection:
        cast("LimitedConnection", connection.connection.driver_connection).answer_limit_s = None
        connection.detach()
        with connection.begin():
            yield connection


class Silence:
    """Whether PostgreSQL has let somebody wait in vain, and has not been heard since.

    While it lasts only one at a time waits for PostgreSQL, so that the threads of the process are free to tell all
    others at once, and to answer what needs no database.
    """

    def __init__(self) -> None:
        self._lasts = False
        self._listening = Lock()

    def begin(self) -> None:
        """Note that somebody has waited in vain."""
        self._lasts = True

    def breaks(self, ask: Callable[[], object]) -> bool:
        """Tell whether PostgreSQL can be asked: there is no silence, or `ask` has just ended it.

        Args:
            ask: waits for a sign of PostgreSQL; its exceptions are raised here, and the silence lasts on.

        Returns:
            False, at once, while another one asks.
        """
        if not self._lasts:
            return True
        if not self._listening.acquire(blocking=False):
            return False
        try:
            ask()
            self._lasts = False
        finally:
            self._listening.release()
        return True
