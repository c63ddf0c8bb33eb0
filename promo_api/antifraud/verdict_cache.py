"""Anti-fraud data that all processes share in Redis: cached verdicts, leases and open circuit breakers.

| Key | Value | Expires |
|---|---|---|
| antifraud:{user id}:verdict | `yes` or `no` | at `cache_until`, to the millisecond |
| antifraud:{user id}:lease | the token of the attempt that may call the service | with the lease |
| antifraud:open-breakers | a sorted set of processes (`host:pid`) by the end of their cool-down | never |

The braces put all keys of a user into one hash slot of a Redis Cluster. If Redis is unavailable, a warning is logged,
nothing is cached, and each attempt calls the service.
"""

import logging
import os
import secrets
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from uuid import UUID

import redis

from promo_api.antifraud.client import Verdict
from promo_api.config.settings import Settings
from promo_api.redis_client import RedisClient, Script
from promo_api.telemetry import metrics

_log = logging.getLogger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ALLOWED_BY_VALUE = {b"yes": True, b"no": False}
# For the round trips to Redis and scheduling delays.
_LEASE_MARGIN_S = 1.0
_OPEN_BREAKERS = "antifraud:open-breakers"

# KEYS: verdict, lease. ARGV: token, length of the lease in ms. An attempt may acquire its own lease again: to renew it,
# or because the first response was lost. pcall: a value of another type counts as no verdict.
_ACQUIRE = Script("""
local verdict = redis.pcall('GET', KEYS[1])
if verdict == 'yes' or verdict == 'no' then return verdict end
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return 'wait' end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 'ask'
""")
# KEYS: verdict, lease. ARGV: token, verdict or '', its expiry in ms. SET NX: an attempt whose lease expired must not
# overwrite a newer verdict.
_RELEASE = Script("""
local is_holder = redis.call('GET', KEYS[2]) == ARGV[1]
if ARGV[2] ~= '' then
    if is_holder then
        redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
    else
        redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3], 'NX')
    end
end
if is_holder then redis.call('DEL', KEYS[2]) end
""")


class Decision(Enum):
    """The next step of an attempt: use the cached verdict, call the service, or wait for another attempt."""

    ALLOW = b"yes"
    DENY = b"no"
    ASK = b"ask"
    WAIT = b"wait"


@dataclass(frozen=True)
class Lease:
    """The exclusive right of one attempt to call the service about a user."""

    user_id: UUID
    token: str = field(default_factory=lambda: secrets.token_hex(8))


def verdict_key(user_id: UUID) -> str:
    """Return the key of the user's cached verdict in Redis."""
    return f"antifraud:{{{user_id}}}:verdict"


def read_verdict(value: bytes | None) -> bool | None:
    """Return whether a cached value allows the user (None: it is no verdict), and count the lookup."""
    verdict = None if value is None else _ALLOWED_BY_VALUE.get(value)
    metrics.verdict_cache_read(verdict)
    return verdict


class VerdictCache:
    """Caches verdicts, and leases the right to call the service to one attempt per user at a time.

    A lease lasts for one call and a second more, so an attempt renews it before each call. If a process dies with a
    lease, other attempts wait until it expires; ANTIFRAUD_LEASE_TIMEOUT_S should be longer.
    """

    def __init__(self, settings: Settings) -> None:
        call_s = settings.antifraud_connect_timeout_s + settings.antifraud_read_timeout_s
        self._lease_ms = round((call_s + _LEASE_MARGIN_S) * 1000)
        self._redis = RedisClient(settings.redis, settings.redis_timeout_s)

    def find(self, user_id: UUID) -> bool | None:
        """Return whether the cached verdict allows the user; None: there is none, or Redis is unavailable."""
        try:
            with self._redis.client() as client:
                value = client.get(verdict_key(user_id))
        except redis.RedisError as error:
            metrics.verdict_cache_unavailable()
            _warn(error)
            return None
        return read_verdict(value)

    def acquire(self, lease: Lease) -> Decision:
        """Return the next step. ASK grants or renews the lease. Without Redis it is always ASK."""
        try:
            return Decision(self._redis.run(_ACQUIRE, _keys(lease.user_id), (lease.token, self._lease_ms)))
        except redis.RedisError as error:
            _warn(error)
            return Decision.ASK

    def release(self, lease: Lease, verdict: Verdict | None) -> None:
        """Release the lease, and cache the verdict if it is valid for a time."""
        value, expires_ms = "", 0
        if verdict is not None and verdict.valid_until is not None and verdict.valid_until > datetime.now(UTC):
            value = "yes" if verdict.ok else "no"
            expires_ms = _milliseconds(verdict.valid_until)
        try:
            self._redis.run(_RELEASE, _keys(lease.user_id), (lease.token, value, expires_ms))
        except redis.RedisError as error:
            _warn(error)

    def delete(self, user_id: UUID) -> None:
        """Delete the verdict and the lease of a user."""
        try:
            with self._redis.client() as client:
                client.delete(*_keys(user_id))
        except redis.RedisError as error:
            _warn(error)

    def record_open_breaker(self, until: datetime) -> None:
        """Record that the circuit breaker of this process is open, and delete expired entries of dead processes."""
        try:
            with self._redis.client() as client, client.pipeline() as pipeline:
                pipeline.zremrangebyscore(_OPEN_BREAKERS, "-inf", _milliseconds(datetime.now(UTC)))
                pipeline.zadd(_OPEN_BREAKERS, {_this_process(): _milliseconds(until)})
                pipeline.execute()
        except redis.RedisError as error:
            _warn(error)

    def delete_open_breaker(self) -> None:
        """Record that the circuit breaker of this process is closed."""
        try:
            with self._redis.client() as client:
                client.zrem(_OPEN_BREAKERS, _this_process())
        except redis.RedisError as error:
            _warn(error)

    def list_open_breakers(self) -> list[tuple[str, datetime]]:
        """Return the processes (host:pid) whose circuit breaker is open, and until when (UTC).

        Raises:
            redis.RedisError: Redis is unavailable.
        """
        now_ms = _milliseconds(datetime.now(UTC))
        with self._redis.client() as client:
            breakers = client.zrangebyscore(_OPEN_BREAKERS, now_ms, "+inf", withscores=True)
        return [(process.decode(), _EPOCH + timedelta(milliseconds=until_ms)) for process, until_ms in breakers]

    def ping(self) -> None:
        """Raise redis.RedisError if Redis is unavailable."""
        with self._redis.client() as client:
            client.ping()

    def close(self) -> None:
        """Close all connections."""
        self._redis.close()


def _warn(error: redis.RedisError) -> None:
    _log.warning("antifraud_cache_unavailable", extra={"reason": type(error).__name__})


def _keys(user_id: UUID) -> tuple[str, str]:
    return verdict_key(user_id), f"antifraud:{{{user_id}}}:lease"


def _this_process() -> str:
    # Computed on each call, because a runtime may be created before a fork.
    return f"{socket.gethostname()}:{os.getpid()}"


def _milliseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(milliseconds=1)
