"""The connection pool."""

import select
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from time import perf_counter
from typing import Any, cast

import orjson
import psycopg
from psycopg import errors
from sqlalchemy import URL, Connection, Dialect, Engine, QueuePool, create_engine, event, exc, text

from persistence.database.errors import find_cause, is_refused_by_standby, translate, unavailable
from persistence.database.server import APPLICATION_NAME
from persistence.database.statements import Statement
from persistence.database.timeouts import DeadlineConnection, ResponseTimeout, unlimited_connection
from promo_api.circuit_breaker import CircuitBreaker
from promo_api.config.settings import Settings
from promo_api.errors import ServiceUnavailable
from promo_api.telemetry import metrics

# The primary is asked instead, so a client should not wait long.
_REPLICA_CONNECT_TIMEOUT_S = 2
# The client waits longer than statement_timeout, for the error to arrive.
_RESPONSE_MARGIN_S = 1.0
_PROBE = Statement(text("SELECT 1"))
_FIND_CITUS = b"SELECT 1 FROM pg_extension WHERE extname = 'citus'"
_PREPARE_FOR_CITUS = b"SELECT set_config('plan_cache_mode', 'auto', false) FROM pg_extension WHERE extname = 'citus'"


class Database:
    """The connection pool of one process.

    The first timeout opens the circuit breaker. Then one request at a time probes PostgreSQL, and the others fail at
    once.
    """

    def __init__(self, settings: Settings, *, of_replicas: bool = False) -> None:
        """Open nothing yet.

        Args:
            settings: where PostgreSQL is, and its limits.
            of_replicas: connect to the standbys at POSTGRES_READ_HOST, and to no other server.
        """
        self._breaker = CircuitBreaker(failures=1, cooldown_s=0)
        arguments = _replica_arguments(settings) if of_replicas else _connect_arguments(settings)
        self._autocommit = _create_engine(settings, arguments)
        self.engine = self._autocommit.execution_options(isolation_level="READ COMMITTED")

    def autocommit(self) -> AbstractContextManager[Connection]:
        """Borrow a connection in autocommit mode, which saves two round trips; errors are translated."""
        return self._borrow(partial(_connect, self._autocommit))

    def transaction(self) -> AbstractContextManager[Connection]:
        """Borrow a connection in a transaction; any exception rolls it back."""
        return self._borrow(partial(_begin, self.engine))

    @contextmanager
    def unlimited(self) -> Iterator[Connection]:
        """Open a connection in autocommit mode without a response timeout, outside the pool; errors are translated."""
        with self.translated(), unlimited_connection(self._autocommit) as connection:
            yield connection

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Translate database errors.

        Raises:
            ServiceUnavailable: PostgreSQL is unavailable, or no connection was free in time.
            ConcurrentRequest: another request with the Idempotency-Key committed first.
            StatementRefused: the statement has a defect.
        """
        try:
            yield
        except exc.TimeoutError as error:
            metrics.pool_timed_out()
            raise ServiceUnavailable(
                "The service is busy. Try again in a moment.", reason="no free connection to PostgreSQL in time"
            ) from error
        except (exc.DBAPIError, psycopg.Error) as error:
            cause = find_cause(error)
            if isinstance(cause, (ResponseTimeout, errors.ConnectionTimeout)):
                self._breaker.record_failure()
            translation = translate(cause)
            # Causes are logged, and may quote a row.
            raise translation from (error if isinstance(translation, ServiceUnavailable) else None)

    def count_connections_in_use(self) -> int:
        """Count the borrowed connections."""
        return cast("QueuePool", self.engine.pool).checkedout()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def _borrow(self, connect: Callable[[], AbstractContextManager[Connection]]) -> Iterator[Connection]:
        with self.translated():
            if not self._breaker.is_closed and not self._breaker.run(self._probe):
                raise unavailable("the circuit breaker is open while another request probes PostgreSQL")
            began_s = perf_counter()
            with connect() as connection, _invalidate_if_lost(connection):
                metrics.connection_acquired(began_s)
                yield connection

    def _probe(self) -> bool:
        with _connect(self._autocommit) as connection:
            _PROBE.value(connection, {})
        return True


def _connect(engine: Engine) -> Connection:
    try:
        return engine.connect()
    except exc.InvalidRequestError as error:
        # The pool gives up: what it opened instead of a closed connection is closed too.
        raise unavailable("new connections are closed at once") from error


@contextmanager
def _begin(engine: Engine) -> Iterator[Connection]:
    with _connect(engine) as connection, connection.begin():
        yield connection


@contextmanager
def _invalidate_if_lost(connection: Connection) -> Iterator[None]:
    """Replace a closed connection, or one to a standby: SQLAlchemy does not see errors of compiled statements."""
    try:
        yield
    except (psycopg.Error, exc.DBAPIError) as error:
        cause = find_cause(error)
        if not connection.invalidated and (is_refused_by_standby(cause) or _is_closed(connection)):
            connection.invalidate()
        raise


def _is_closed(connection: Connection) -> bool:
    return bool(connection.connection.dbapi_connection.closed)  # type: ignore[union-attr]


def _create_engine(settings: Settings, arguments: dict[str, Any]) -> Engine:
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
        isolation_level="AUTOCOMMIT",
        # Logs must not contain codes or e-mail addresses.
        hide_parameters=True,
        json_deserializer=orjson.loads,
        connect_args=arguments,
    )
    event.listen(engine, "do_connect", _opener(settings))
    event.listen(engine, "checkout", _discard_closed)
    return engine


def _connect_arguments(settings: Settings) -> dict[str, Any]:
    return {
        "host": settings.postgres_host,
        "port": settings.postgres_port,
        # Skip standbys.
        "target_session_attrs": "read-write" if "," in settings.postgres_host else "any",
        "connect_timeout": settings.postgres_connect_timeout_s,
        "application_name": APPLICATION_NAME,
        "keepalives_idle": 30,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
        # psycopg would return bytes in the C locale.
        "client_encoding": "utf8",
        **_session_arguments(settings),
    }


def _replica_arguments(settings: Settings) -> dict[str, Any]:
    return {
        **_connect_arguments(settings),
        "host": settings.postgres_read_host,
        "port": settings.postgres_read_port,
        "target_session_attrs": "standby",
        "load_balance_hosts": "random",
        "connect_timeout": _REPLICA_CONNECT_TIMEOUT_S,
    }


def session_settings(settings: Settings, *, distributed: bool = False) -> dict[str, str]:
    """Return the settings of each session by name; times in milliseconds.

    Generic plans, because a custom plan takes longer than most statements. Citus plans a statement for the shards of
    its parameters, and refuses generic plans.
    """
    limits = {
        "statement_timeout": settings.postgres_statement_timeout_s,
        "lock_timeout": settings.postgres_lock_timeout_s,
        "idle_in_transaction_session_timeout": settings.postgres_idle_transaction_timeout_s,
    }
    milliseconds = {name: str(round(seconds * 1000)) for name, seconds in limits.items()}
    return milliseconds | {"TimeZone": "UTC", "plan_cache_mode": "auto" if distributed else "force_generic_plan"}


def _session_arguments(settings: Settings) -> dict[str, str | None]:
    """Return the session settings as arguments; behind a transaction pooler the role has them instead."""
    if settings.postgres_transaction_pooling:
        return {"prepare_threshold": None}
    return {"options": " ".join(f"-c {name}={value}" for name, value in session_settings(settings).items())}


def _opener(settings: Settings) -> Callable[..., DeadlineConnection]:
    # Behind a transaction pooler the role has the setting, because a session is not the service's own.
    find_citus = _FIND_CITUS if settings.postgres_transaction_pooling else _PREPARE_FOR_CITUS

    def open_connection(
        _dialect: Dialect, _record: object, arguments: list[Any], parameters: dict[str, Any]
    ) -> DeadlineConnection:
        connection = DeadlineConnection.connect(*arguments, autocommit=True, **parameters)
        connection.response_timeout_s = settings.postgres_statement_timeout_s + _RESPONSE_MARGIN_S
        try:
            connection.is_distributed = connection.execute(find_citus).fetchone() is not None
        except psycopg.Error:
            connection.close()
            raise
        connection.statements = psycopg.RawCursor(connection)
        return connection

    return open_connection


def _discard_closed(dbapi_connection: psycopg.Connection[Any], _record: object, _proxy: object) -> None:
    """Replace a connection that was closed while idle: only then is its socket readable."""
    poll = select.poll()
    poll.register(dbapi_connection.fileno(), select.POLLIN)
    if poll.poll(0):
        raise exc.DisconnectionError
