"""Why a dependency is unavailable, as sentences for operators: without names of classes, and with advice."""

import re
import ssl

import redis
from redis.sentinel import MasterNotFoundError

from persistence.database.errors import MissingPrivilege
from promo_api.errors import ServiceUnavailable

# What libpq adds: 'connection failed: connection to server at "10.0.0.1", port 5432 failed: FATAL:  ...'
_POSTGRES_NOISE = re.compile(
    r"^connection (failed|is bad): |connection to server (at|on socket) .*? failed: "
    r"|(FATAL|ERROR):\s+|fe_sendauth: |\[Errno -?\d+\] "
)
_POSTGRES_ADVICE = {
    "password authentication failed|no password supplied|^role .* does not exist|not permitted to log in": (
        "Check POSTGRES_USERNAME and POSTGRES_PASSWORD."
    ),
    "^database .* does not exist": "Create the database, or check POSTGRES_DATABASE.",
    "no pg_hba.conf entry": "Allow the connection in pg_hba.conf of the server.",
    "connection refused|no such file|resolve|timeout|unreachable": (
        "Check that PostgreSQL runs, and POSTGRES_HOST and POSTGRES_PORT."
    ),
}
_REDIS_ADVICE = "Check that Redis runs, and REDIS_HOST and REDIS_PORT, or REDIS_URL."
_ANTIFRAUD_ADVICE = "Check that the service runs, and ANTIFRAUD_ADDRESS."
# What redis-py adds before the cause, and the objects that it prints after.
_REDIS_NOISE = re.compile(r"^(.*reachable node: )?(Error -?\d+ connecting to \S+\. )?|\s*:? <.*")


def describe_failure(error: Exception) -> str:
    """Return what a failed call to PostgreSQL, Redis or the anti-fraud service says about its cause."""
    if isinstance(error, ServiceUnavailable):
        return _describe_postgres(_POSTGRES_NOISE.sub("", error.reason))
    if isinstance(error, MissingPrivilege):
        return _sentences("the role has too few rights", "See deploy/grants.sql.")
    if isinstance(error, redis.RedisError):
        return _describe_redis(error)
    if isinstance(error, OSError):
        return _describe_antifraud(error)
    return "the check failed unexpectedly."


def _describe_postgres(reason: str) -> str:
    advice = [text for pattern, text in _POSTGRES_ADVICE.items() if re.search(pattern, reason, re.IGNORECASE)]
    return _sentences(reason, *advice[:1])


def _describe_redis(error: redis.RedisError) -> str:
    if isinstance(error, redis.AuthenticationError):
        return _sentences("it refuses the user or the password", "Check REDIS_PASSWORD or REDIS_URL.")
    if isinstance(error, MasterNotFoundError):
        return _sentences("no Sentinel knows a primary of this service", _REDIS_ADVICE)
    if isinstance(error, redis.TimeoutError):
        return _sentences("it did not respond in time", _REDIS_ADVICE)
    return _sentences(_REDIS_NOISE.sub("", str(error)), _REDIS_ADVICE)


def _describe_antifraud(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _sentences(f"its certificate is not trusted, {error.verify_message}", "Check ANTIFRAUD_CA_FILE.")
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "unknown reason").replace("_", " ").lower()
        return _sentences(f"TLS failed, {reason}", _ANTIFRAUD_ADVICE)
    if isinstance(error, TimeoutError):
        return _sentences("it did not respond in time", _ANTIFRAUD_ADVICE)
    return _sentences(error.strerror or "the connection failed", _ANTIFRAUD_ADVICE)


def _sentences(cause: str, *advice: str) -> str:
    """Return the cause, which follows a colon, and the advice."""
    lower = cause if cause[1:2].isupper() else cause[:1].lower() + cause[1:]
    return " ".join([f"{lower.strip().rstrip('.')}.", *advice])
