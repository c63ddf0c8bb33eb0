"""Why a dependency is unavailable: sentences without names of classes, addresses of objects or error numbers."""

import re
import socket
import ssl

import pytest
import redis
from redis.exceptions import AuthenticationError, ResponseError
from redis.sentinel import MasterNotFoundError

from persistence.database.errors import MissingPrivilege
from promo_api.errors import ServiceUnavailable
from promo_api.failure_messages import describe_failure

_TCP = 'connection failed: connection to server at "10.0.0.1", port 5432 failed: '
_SOCKET = 'connection is bad: connection to server on socket "/run/.s.PGSQL.5432" failed: '
_ADDRESS = "Check that PostgreSQL runs, and POSTGRES_HOST and POSTGRES_PORT."
_ROLE = "Check POSTGRES_USERNAME and POSTGRES_PASSWORD."
_REDIS = "Check that Redis runs, and REDIS_HOST and REDIS_PORT, or REDIS_URL."
_SERVICE = "Check that the service runs, and ANTIFRAUD_ADDRESS."


@pytest.mark.parametrize(
    ("reason", "sentences"),
    [
        (f"{_TCP}Connection refused", f"connection refused. {_ADDRESS}"),
        (f"{_SOCKET}No such file or directory", f"no such file or directory. {_ADDRESS}"),
        ("connection timeout expired", f"connection timeout expired. {_ADDRESS}"),
        (
            "failed to resolve host 'pg': [Errno -2] Name or service not known",
            f"failed to resolve host 'pg': Name or service not known. {_ADDRESS}",
        ),
        (
            f'{_TCP}FATAL:  password authentication failed for user "promo"',
            f'password authentication failed for user "promo". {_ROLE}',
        ),
        (f'{_SOCKET}FATAL:  role "x" does not exist', f'role "x" does not exist. {_ROLE}'),
        (f"{_TCP}fe_sendauth: no password supplied", f"no password supplied. {_ROLE}"),
        (
            f'{_TCP}FATAL:  database "x" does not exist',
            'database "x" does not exist. Create the database, or check POSTGRES_DATABASE.',
        ),
        (
            f'{_TCP}FATAL:  no pg_hba.conf entry for host "10.0.0.2"',
            'no pg_hba.conf entry for host "10.0.0.2". Allow the connection in pg_hba.conf of the server.',
        ),
        (f"{_TCP}FATAL:  sorry, too many clients already", "sorry, too many clients already."),
        ("SSL connection has been closed unexpectedly", "SSL connection has been closed unexpectedly."),
    ],
)
def test_postgres(reason: str, sentences: str) -> None:
    """PostgreSQL: the cause, and the settings to check."""
    assert describe_failure(ServiceUnavailable("", reason=reason)) == sentences


def test_missing_privilege() -> None:
    """A role without the rights of deploy/grants.sql."""
    assert describe_failure(MissingPrivilege("")) == "the role has too few rights. See deploy/grants.sql."


@pytest.mark.parametrize(
    ("error", "sentences"),
    [
        (redis.ConnectionError("Error 111 connecting to r:1. Connection refused."), f"connection refused. {_REDIS}"),
        (redis.TimeoutError("Timeout reading from socket"), f"it did not respond in time. {_REDIS}"),
        (
            AuthenticationError("HELLO must be called with the client already authenticated"),
            "it refuses the user or the password. Check REDIS_PASSWORD or REDIS_URL.",
        ),
        (
            MasterNotFoundError("No master found for 'x' : <redis.client.Redis(<redis.connection.ConnectionPool(..."),
            f"no Sentinel knows a primary of this service. {_REDIS}",
        ),
        (
            redis.RedisError("Please provide at least one reachable node: Error -2 connecting to r:1. Not known."),
            f"not known. {_REDIS}",
        ),
        (ResponseError("DB index is out of range"), f"DB index is out of range. {_REDIS}"),
        (redis.RedisError("broken: <redis.client.Redis object at 0x7f>"), f"broken. {_REDIS}"),
    ],
)
def test_redis(error: redis.RedisError, sentences: str) -> None:
    """Redis: the cause, and the settings to check."""
    assert describe_failure(error) == sentences


def _certificate_error() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] (_ssl.c:1)")
    error.verify_message = "self-signed certificate"
    return error


def _tls_error() -> ssl.SSLError:
    error = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)")
    error.reason = "WRONG_VERSION_NUMBER"
    return error


@pytest.mark.parametrize(
    ("error", "sentences"),
    [
        (ConnectionRefusedError(111, "Connection refused"), f"connection refused. {_SERVICE}"),
        (socket.gaierror(-2, "Name or service not known"), f"name or service not known. {_SERVICE}"),
        (TimeoutError("_ssl.c:989: The handshake operation timed out"), f"it did not respond in time. {_SERVICE}"),
        (_certificate_error(), "its certificate is not trusted, self-signed certificate. Check ANTIFRAUD_CA_FILE."),
        (_tls_error(), f"TLS failed, wrong version number. {_SERVICE}"),
        (OSError("x"), f"the connection failed. {_SERVICE}"),
    ],
)
def test_antifraud(error: OSError, sentences: str) -> None:
    """The anti-fraud service: the cause, and the settings to check."""
    assert describe_failure(error) == sentences


def test_other_errors() -> None:
    """Another exception is a defect: its message may contain anything."""
    assert describe_failure(KeyError("secret")) == "the check failed unexpectedly."
    assert not re.search("secret|KeyError", describe_failure(KeyError("secret")))
