"""Translation of PostgreSQL's errors."""

import re
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import errors
from sqlalchemy import exc

from persistence.schema.tables import stored_responses
from promo_api.errors import ConcurrentRequest, ServiceUnavailable

# The quoted name at the end of a message; in a shard it ends with a number.
_LAST_NAME = re.compile(r"\W(\w+?)(?:_[0-9]{6,})?\W$")
# What libpq and Citus say when a server of the cluster is lost.
_LOST_SERVER = re.compile(
    r"server closed the connection|connection not open|connection has been closed|no connection to the server"
    r"|could not (send|receive) data|SSL SYSCALL error|could not commit transaction"
    r"|postmaster was shut down|multiple connection failures"
)

# The function of PostgreSQL that refuses to read an unlogged table. The message depends on lc_messages.
_FINDS_UNLOGGED_TABLES = "get_relation_info"


class StatementRefused(Exception):
    """PostgreSQL refused a defective statement. PostgreSQL's text is not in the message, because it may quote a row."""


class MissingPrivilege(StatementRefused):
    """The role lacks a privilege."""

    reason = "the role lacks a privilege; POSTGRES_USERNAME must be the owner of the tables"


def find_cause(error: exc.DBAPIError | psycopg.Error) -> BaseException | None:
    """Return the psycopg error in an error of SQLAlchemy."""
    return error.orig if isinstance(error, exc.DBAPIError) else error


def is_refused_by_standby(error: BaseException | None) -> bool:
    """Return whether a standby refused to write, or to read an unlogged table.

    Citus raises the error of unlogged tables too, for statements that it does not support.
    """
    return isinstance(error, errors.ReadOnlySqlTransaction) or (
        isinstance(error, errors.FeatureNotSupported) and error.diag.source_function == _FINDS_UNLOGGED_TABLES
    )


def was_canceled(error: ServiceUnavailable) -> bool:
    """Return whether only a statement was canceled: it took too long, or delayed the replay of a standby."""
    cause = error.__cause__
    return isinstance(cause, (exc.DBAPIError, psycopg.Error)) and isinstance(
        find_cause(cause), (errors.QueryCanceled, errors.SerializationFailure)
    )


def translate(error: BaseException | None) -> Exception:
    """Return the exception for the most specific class of a psycopg error."""
    if is_refused_by_standby(error):
        return unavailable(error)
    return next((_MEANINGS[kind] for kind in type(error).__mro__ if kind in _MEANINGS), _defect)(error)


def unavailable(error: object) -> ServiceUnavailable:
    """Return the exception for an unavailable database."""
    reason = str(error).partition("\n")[0]
    return ServiceUnavailable("The database is unavailable. Try again in a moment.", reason=reason)


def _outdated_schema(_error: object) -> ServiceUnavailable:
    return ServiceUnavailable(
        "The database schema does not match this version. An operator must run the migrations.",
        reason="python -m promo_api migrate has not been run",
        retry_after_s=30,
    )


def _internal_error(error: psycopg.Error) -> Exception:
    """An internal error is a defect, unless Citus reports a lost server with it."""
    return unavailable(error) if _LOST_SERVER.search(error.diag.message_primary or str(error)) else _defect(error)


def _violation(error: psycopg.Error) -> Exception:
    """A violation is a defect unless a concurrent request can cause it."""
    constraint = _find_constraint(error)
    if constraint == stored_responses.primary_key.name:
        return ConcurrentRequest()
    return _defect(error)


def _find_constraint(error: psycopg.Error) -> str | None:
    """Return the name of the violated constraint. Citus has it only in the message."""
    in_message = _LAST_NAME.search(error.diag.message_primary or "")
    return error.diag.constraint_name or (in_message and in_message[1])


def _missing_privilege(error: object) -> MissingPrivilege:
    return MissingPrivilege(_describe(error))


def _defect(error: object) -> StatementRefused:
    return StatementRefused(_describe(error))


def _describe(error: object) -> str:
    diagnostics = error.diag if isinstance(error, psycopg.Error) else None
    where = diagnostics and (diagnostics.constraint_name or diagnostics.table_name)
    if isinstance(error, (errors.UniqueViolation, errors.CheckViolation)):
        where = _find_constraint(error) or where
    return f"{type(error).__name__} ({where or 'no constraint or table named'})"


_MEANINGS: dict[type, Callable[[Any], Exception]] = {
    psycopg.OperationalError: unavailable,
    psycopg.InterfaceError: unavailable,
    errors.IdleInTransactionSessionTimeout: unavailable,
    errors.InternalError_: _internal_error,
    errors.UndefinedTable: _outdated_schema,
    errors.UndefinedColumn: _outdated_schema,
    errors.UndefinedFunction: _outdated_schema,
    errors.InsufficientPrivilege: _missing_privilege,
    psycopg.IntegrityError: _violation,
}
