"""Anti-fraud data in Redis, shared by all processes.

| Key | Value | Expires |
|---|---|---|
| antifraud:{user id}:verdict | `yes` or `no` | at `cache_until`, to the millisecond |
| antifraud:{user id}:lease | token of the attempt that calls the service | with the lease |
| antifraud:open-breakers | sorted set of `host:pid` by end of cool-down | never |

The braces put a user's keys into one slot of a Redis Cluster. Without Redis, each attempt calls the service.
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
# Round trips to Redis, scheduling.
_LEASE_MARGIN_S = 1.0
_OPEN_BREAKERS = "antifraud:open-breakers"

# KEYS: verdict, lease. ARGV: token, lease in ms. The holder may acquire again. pcall: another type is no verdict.
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


# KEYS: selects the node in a Cluster. In a script, because a Cluster would send the command to all nodes.
_TIME = Script("return redis.call('TIME')")


class Decision(Enum):
    """The next step of an attempt."""

    ALLOW = b"yes"
    DENY = b"no"
    ASK = b"ask"
    WAIT = b"wait"


@dataclass(frozen=True)
class Lease:
    """The right of one attempt to call the service about a user."""

    user_id: UUID
    token: str = field(default_factory=lambda: secrets.token_hex(8))


def verdict_key(user_id: UUID) -> str:
    """Return the Redis key of a verdict."""
    return f"antifraud:{{{user_id}}}:verdict"


def read_verdict(value: bytes | None) -> bool | None:
    """Return the cached verdict (None: none or invalid), and count the lookup."""
    verdict = None if value is None else _ALLOWED_BY_VALUE.get(value)
    metrics.verdict_cache_read(verdict)
    return verdict


class VerdictCache:
    """Caches verdicts, and leases calls to one attempt per user.

    A lease covers one call. If its holder dies, others wait until it expires.
    """

    def __init__(self, settings: Settings) -> None:
        call_s = settings.antifraud_connect_timeout_s + settings.antifraud_read_timeout_s
        self._lease_ms = round((call_s + _LEASE_MARGIN_S) * 1000)
        self._redis = RedisClient(settings.redis, settings.redis_timeout_s)

    def find(self, user_id: UUID) -> bool | None:
        """Return the cached verdict; None: there is none, or no Redis."""
        try:
            with self._redis.client() as client:
                value = client.get(verdict_key(user_id))
        except redis.RedisError as error:
            metrics.verdict_cache_unavailable()
            _warn(error)
            return None
        return read_verdict(value)

    def acquire(self, lease: Lease) -> Decision:
        """Return the next step. ASK grants or renews the lease; without Redis, always ASK."""
        try:
            return Decision(self._redis.run(_ACQUIRE, _keys(lease.user_id), (lease.token, self._lease_ms)))
        except redis.RedisError as error:
            _warn(error)
            return Decision.ASK

    def release(self, lease: Lease, verdict: Verdict | None) -> None:
        """Release the lease, and cache the verdict until it expires."""
        value, expires_ms = "", 0
        if verdict is not None and verdict.valid_until is not None and verdict.valid_until > datetime.now(UTC):
            value = "yes" if verdict.ok else "no"
            expires_ms = _milliseconds(verdict.valid_until)
        try:
            self._redis.run(_RELEASE, _keys(lease.user_id), (lease.token, value, expires_ms))
        except redis.RedisError as error:
            _warn(error)

    def delete(self, user_id: UUID) -> None:
        """Delete a user's verdict and lease."""
        try:
            with self._redis.client() as client:
                client.delete(*_keys(user_id))
        except redis.RedisError as error:
            _warn(error)

    def record_open_breaker(self, until: datetime) -> None:
        """Record an open circuit; delete expired entries of dead processes."""
        try:
            with self._redis.client() as client, client.pipeline() as pipeline:
                pipeline.zremrangebyscore(_OPEN_BREAKERS, "-inf", _milliseconds(datetime.now(UTC)))
                pipeline.zadd(_OPEN_BREAKERS, {_this_process(): _milliseconds(until)})
                pipeline.execute()
        except redis.RedisError as error:
            _warn(error)

    def delete_open_breaker(self) -> None:
        """Record a closed circuit."""
        try:
            with self._redis.client() as client:
                client.zrem(_OPEN_BREAKERS, _this_process())
        except redis.RedisError as error:
            _warn(error)

    def list_open_breakers(self) -> list[tuple[str, datetime]]:
        """Return host:pid of open circuits, and until when (UTC). Raises redis.RedisError."""
        now_ms = _milliseconds(datetime.now(UTC))
        with self._redis.client() as client:
            breakers = client.zrangebyscore(_OPEN_BREAKERS, now_ms, "+inf", withscores=True)
        return [(process.decode(), _EPOCH + timedelta(milliseconds=until_ms)) for process, until_ms in breakers]

    def ping(self) -> None:
        """Raise redis.RedisError if Redis is unavailable."""
        with self._redis.client() as client:
            client.ping()

    def read_clock(self) -> datetime:
        """Return the time of Redis (UTC), or raise redis.RedisError."""
        seconds, microseconds = map(int, self._redis.run(_TIME, (_OPEN_BREAKERS,), ()))
        return _EPOCH + timedelta(seconds=seconds, microseconds=microseconds)

    def close(self) -> None:
        """Close all connections."""
        self._redis.close()


def _warn(error: redis.RedisError) -> None:
    _log.warning("antifraud_cache_unavailable", extra={"reason": type(error).__name__})


def _keys(user_id: UUID) -> tuple[str, str]:
    return verdict_key(user_id), f"antifraud:{{{user_id}}}:lease"


def _this_process() -> str:
    # Not stored, because a fork may follow.
    return f"{socket.gethostname()}:{os.getpid()}"


def _milliseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(milliseconds=1)
