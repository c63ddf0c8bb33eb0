"""Counters in Redis, shared by all processes.

The braces in `rate-limit:{subject}:name` put the keys of a user, with the anti-fraud verdict, into one slot of a Redis
Cluster.
"""

from typing import NamedTuple

from promo_api.config.settings import Settings
from promo_api.redis_client import RedisClient, Script


class RateLimit(NamedTuple):
    """At most `times` events per window; 0: no limit."""

    name: str
    times: int
    period_s: int


class Counter(NamedTuple):
    """The subject is a user id, or a digest of an account or address."""

    limit: RateLimit
    subject: str

    @property
    def key(self) -> str:
        """The key in Redis."""
        return f"rate-limit:{{{self.subject}}}:{self.limit.name}"


class Count(NamedTuple):
    """`wait_ms`: until the window ends; 0: within the limit. `value`: the other key's string."""

    wait_ms: int
    value: bytes | None


# KEYS: counter, optional other key. ARGV: amount, times, period in ms. Returns ms to wait (an integer), or the
# other key's value.
_COUNT = Script("""
local amount, times = tonumber(ARGV[1]), tonumber(ARGV[2])
if times > 0 then
    local count = redis.call('INCRBY', KEYS[1], amount)
    if count == amount then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
    if count > times then return math.max(redis.call('PTTL', KEYS[1]), 1) end
end
local value = KEYS[2] and redis.pcall('GET', KEYS[2])
return type(value) == 'string' and value
""")


class RateLimitCounter:
    """Counts in fixed windows. All methods raise redis.RedisError."""

    def __init__(self, settings: Settings) -> None:
        self._redis = RedisClient(settings.redis, settings.redis_timeout_s)

    def count(self, counter: Counter, amount: int = 1, *, read: str | None = None) -> Count:
        """Count events and read a key of the same slot, in one round trip."""
        keys = [counter.key] if read is None else [counter.key, read]
        arguments = amount, counter.limit.times, counter.limit.period_s * 1000
        result = self._redis.run(_COUNT, keys, arguments)
        return Count(result, None) if isinstance(result, int) else Count(0, result)

    def check(self, counter: Counter) -> Count:
        """Return the result of one more event, without counting it."""
        with self._redis.client() as client:
            count = int(client.get(counter.key) or 0)
            wait_ms = client.pttl(counter.key) if count >= counter.limit.times else 0
        # Negative: the window has just ended.
        return Count(max(wait_ms, 0), None)

    def delete(self, counter: Counter) -> None:
        """Delete a counter."""
        with self._redis.client() as client:
            client.delete(counter.key)

    def close(self) -> None:
        """Close all connections."""
        self._redis.close()
