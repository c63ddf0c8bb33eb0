"""Connections to PostgreSQL: the pool, its time limits, and what the failures of a database mean."""

import select
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import perf_counter
from typing import Any, cast

import orjson
import psycopg
from sqlalchemy import URL, Connection, Dialect, Engine, QueuePool, create_engine, event, exc, text

from persistence.database.statements import Statement
from persistence.schema.tables import kept_answers, metadata, users
from persistence.silence import SILENT, LimitedConnection, Silence
from promo_api import metrics
from promo_api.errors import DependencyDown, KeyTaken, Unauthenticated
from promo_api.settings import Settings

_NO_SCHEMA = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn)
_STANDBY = psycopg.errors.ReadOnlySqlTransaction
_AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.IdleInTransactionSessionTimeout,
    _STANDBY,
)
# What refers to a user, who may have left since the token was checked.
_USER_KEYS = {
    key.name
    for table in metadata.tables.values()
    for key in table.foreign_key_constraints
    if key.referred_table is users
}
_PROBE = Statement(text("SELECT 1"))
# A server that is well ends a statement at its timeout; this is for the way of that answer.
_ANSWER_MARGIN_S = 1.0


class StatementRefused(Exception):
    """PostgreSQL refused a statement for a reason that nobody foresaw: a defect of ours.

    It says which kind of error and which constraint, and not the text of the error, which may carry a row with the
    value of its promo into the log.
    """


class RightMissing(StatementRefused):
    """PostgreSQL refused a statement, since the role may not do what it asks for."""

    reason = "the role may not do that; POSTGRES_USERNAME must name the one that owns the tables"


class Database:
    """The pooled connections of one process. Nothing is opened before the first use.

    However silent PostgreSQL is, whoever asks is told so in the end: waiting for a free connection is limited by the
    pool's time limit, and each step after that by the connect timeout or by the answer limit, which is the statement
    timeout and a second. The first step that fails ends the loan, for its connection is closed and has nothing to
    roll back.
    """

    def __init__(self, settings: Settings) -> None:
        self._silence = Silence()
        self._autocommit = _create_engine(settings)
        self.engine = self._autocommit.execution_options(isolation_level="READ COMMITTED")

    def autocommit(self) -> AbstractContextManager[Connection]:
        """Lend a connection on which each statement is a transaction of its own: two round trips less.

        Raises:
            DependencyDown: no connection in time, or PostgreSQL failed.
            KeyTaken: another request with the same Idempotency-Key was carried out first.
            Unauthenticated: the user for whom something was to be recorded has left.
            StatementRefused: a statement has a defect.
        """
        return self._lent(self._autocommit.connect)

    def transaction(self) -> AbstractContextManager[Connection]:
        """Lend a connection in a transaction, which is committed at the end, or rolled back on any exception.

        Raises:
            DependencyDown: no connection in time, or PostgreSQL failed.
            KeyTaken: another request with the same Idempotency-Key was carried out first.
            Unauthenticated: the user for whom something was to be recorded has left.
            StatementRefused: a statement has a defect.
        """
        return self._lent(self.engine.begin)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise DependencyDown, for what is run within, where PostgreSQL failed or can't be reached."""
        try:
            yield
        except exc.TimeoutError as error:
            metrics.pool_timed_out()
            raise DependencyDown(
                "The service is busy. Try again in a moment.", reason="no connection to PostgreSQL came free in time"
            ) from error
        except (exc.DBAPIError, psycopg.Error) as error:
            cause = _cause(error)
            if isinstance(cause, _NO_SCHEMA):
                raise DependencyDown(
                    "The database has not been set up for this version. Its operator runs the migrations.",
                    reason="python -m promo_api migrate has not been run",
                    retry_after_s=30,
                ) from error
            if isinstance(cause, SILENT):
                self._silence.begin()
            if isinstance(cause, _AWAY):
                raise _away(str(cause).partition("\n")[0]) from error
            if _constraint(cause) == kept_answers.primary_key.name:
                raise KeyTaken from None
            if _constraint(cause) in _USER_KEYS:
                raise Unauthenticated.left() from None
            raise _refused(cause) from None

    def count_lent(self) -> int:
        """Return how many connections are lent now."""
        return cast("QueuePool", self.engine.pool).checkedout()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def _lent(self, lend: Callable[[], AbstractContextManager[Connection]]) -> Iterator[Connection]:
        with self.translated():
            self._check_silence()
            asked_s = perf_counter()
            with lend() as connection, _discarded_if_lost(connection):
                metrics.connection_got(asked_s)
                yield connection

    def _check_silence(self) -> None:
        if not self._silence.breaks(self._ask):
            raise _away("PostgreSQL is silent, and another request listens")

    def _ask(self) -> None:
        with self._autocommit.connect() as connection:
            _PROBE.value(connection, {})


@contextmanager
def _discarded_if_lost(connection: Connection) -> Iterator[None]:
    """Have the pool forget a connection that is closed, or leads to what is a standby now: the next one is a new one.

    Of what prepared statements meet, the pool is told nothing; of its own statements it sees that one is closed.
    """
    try:
        yield
    except (psycopg.Error, exc.DBAPIError) as error:
        cause = _cause(error)
        if not connection.invalidated and (isinstance(cause, _STANDBY) or _is_closed(connection)):
            connection.invalidate()
        raise


def _is_closed(connection: Connection) -> bool:
    return bool(connection.connection.dbapi_connection.closed)  # type: ignore[union-attr]


def _cause(error: exc.DBAPIError | psycopg.Error) -> BaseException | None:
    """Return the psycopg error.

    Statements raise psycopg errors (persistence.database.statements). SQLAlchemy only connects, commits and rolls
    back, and wraps the errors of these.
    """
    return error.orig if isinstance(error, exc.DBAPIError) else error


def _away(reason: str) -> DependencyDown:
    return DependencyDown("The database does not answer. Try again in a moment.", reason=reason)


def _constraint(error: BaseException | None) -> str | None:
    """Return the name of the constraint that a statement broke; None if it was none."""
    return error.diag.constraint_name if isinstance(error, psycopg.Error) else None


def _refused(error: BaseException | None) -> StatementRefused:
    where = _constraint(error) or (error.diag.table_name if isinstance(error, psycopg.Error) else None)
    kind = RightMissing if isinstance(error, psycopg.errors.InsufficientPrivilege) else StatementRefused
    return kind(f"{type(error).__name__} ({where or 'no constraint or table named'})")


def _create_engine(settings: Settings) -> Engine:
    url = URL.create(
        "postgresql+psycopg",
        username=settings.postgres_username,
        password=settings.postgres_password or None,
        database=settings.postgres_database,
    )
    engine = create_engine(
        url,
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=settings.postgres_pool_timeout_s,
        pool_use_lifo=True,
        # Most of what is lent; a transaction is begun by those who want one.
        isolation_level="AUTOCOMMIT",
        # An error message with the parameters of its statement would carry codes and addresses into the log.
        hide_parameters=True,
        json_deserializer=orjson.loads,
        connect_args={
            "host": settings.postgres_host,
            "port": settings.postgres_port,
            # Of several the one that is no standby; of one it is known once something is written.
            "target_session_attrs": "read-write" if "," in settings.postgres_host else "any",
            "connect_timeout": settings.postgres_connect_timeout_s,
            "application_name": "promo-api",
            # A server that is gone without a word is noticed, and not waited for.
            "keepalives_idle": 30,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
            # A database made in the C locale has no encoding, and psycopg would return bytes from it.
            "client_encoding": "utf8",
            **_session(settings),
        },
    )
    event.listen(engine, "do_connect", _opener(settings.postgres_statement_timeout_s + _ANSWER_MARGIN_S))
    event.listen(engine, "checkout", _refuse_closed)
    return engine


def session_settings(settings: Settings) -> dict[str, str]:
    """Return the settings that each session in PostgreSQL must have, by name; times in milliseconds.

    Statements are written for generic plans: custom plans cost more time than most statements, and change with values.
    """
    limits = {
        "statement_timeout": settings.postgres_statement_timeout_s,
        "lock_timeout": settings.postgres_lock_timeout_s,
        "idle_in_transaction_session_timeout": settings.postgres_idle_transaction_timeout_s,
    }
    milliseconds = {name: str(round(seconds * 1000)) for name, seconds in limits.items()}
    return milliseconds | {"TimeZone": "UTC", "plan_cache_mode": "force_generic_plan"}


def _session(settings: Settings) -> dict[str, str | None]:
    """Return how a connection makes its session; one that a pooler lends belongs to nobody, and is left as it is.

    Its settings are those of the role then, and what one transaction prepared the next would not find.
    """
    if settings.postgres_transaction_pooling:
        return {"prepare_threshold": None}
    return {"options": " ".join(f"-c {name}={value}" for name, value in session_settings(settings).items())}


def _opener(answer_limit_s: float) -> Callable[..., LimitedConnection]:
    def open_connection(
        _dialect: Dialect, _record: object, arguments: list[Any], parameters: dict[str, Any]
    ) -> LimitedConnection:
        connection = LimitedConnection.connect(*arguments, **parameters)
        connection.answer_limit_s = answer_limit_s
        connection.statements = psycopg.RawCursor(connection)
        return connection

    return open_connection


def _refuse_closed(dbapi_connection: psycopg.Connection[Any], _record: object, _proxy: object) -> None:
    """Have the pool replace a connection that PostgreSQL closed while it lay idle, at the price of no round trip.

    An idle connection has nothing to say: if its socket can be read, that is the end of the stream, or the
    message before it.
    """
    poll = select.poll()
    poll.register(dbapi_connection.fileno(), select.POLLIN)
    if poll.poll(0):
        raise exc.DisconnectionError
