"""Client-side response timeouts.

A frozen server does not enforce its own timeouts, and TCP timeouts do not help while its kernel acknowledges packets.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine

_RV = TypeVar("_RV")


class ResponseTimeout(psycopg.OperationalError):
    """No response in time. Whether the statement took effect is unknown."""


class DeadlineConnection(psycopg.Connection[Any]):
    """A connection that closes after a timeout (None: no limit), because the response could still arrive.

    Attributes:
        statements: the cursor that runs compiled statements.
        is_distributed: whether the database has the extension citus.
    """

    response_timeout_s: float | None = None
    is_distributed = False
    statements: psycopg.RawCursor[Any]

    def wait(self, gen: PQGen[_RV], interval: float = 0.1, timeout: float | None = None) -> _RV:
        """Wait for a response; raise ResponseTimeout if there is none."""
        timeout_s = self.response_timeout_s if timeout is None else timeout
        try:
            return super().wait(gen, interval, timeout_s)
        except psycopg.InternalError as error:
            # PgBouncer repeats the error of a server that shuts down: two results for one COMMIT.
            if self.closed:
                raise psycopg.OperationalError("the connection was closed") from error
            raise
        except psycopg.OperationalError as error:
            # Only after a timeout is the statement still active.
            if self.pgconn.transaction_status != TransactionStatus.ACTIVE:
                raise
            self.close()
            raise ResponseTimeout(f"no response within {timeout_s} s") from error


@contextmanager
def response_timeout(connection: Connection, seconds: float) -> Iterator[None]:
    """Wait at most so long for each response during a block."""
    open_connection = cast("DeadlineConnection", connection.connection.dbapi_connection)
    usual_s, open_connection.response_timeout_s = open_connection.response_timeout_s, seconds
    try:
        yield
    finally:
        open_connection.response_timeout_s = usual_s


@contextmanager
def unlimited_connection(engine: Engine) -> Iterator[Connection]:
    """Open a connection without a response timeout, outside the pool."""
    with engine.connect() as connection:
        cast("DeadlineConnection", connection.connection.driver_connection).response_timeout_s = None
        connection.detach()
        yield connection


@contextmanager
def unlimited_transaction(engine: Engine) -> Iterator[Connection]:
    """Open a transaction without a response timeout, outside the pool."""
    with unlimited_connection(engine) as connection, connection.begin():
        yield connection
