"""Counters in Redis, shared by all processes.

The braces in `rate-limit:{subject}:name` put the keys of a user, with the anti-fraud verdict, into one slot of a Redis
Cluster, and also the counters of a company and its API keys.
"""

from collections.abc import Sequence
from typing import NamedTuple

from promo_api.config.settings import Settings
from promo_api.redis_client import RedisClient, Script


class RateLimit(NamedTuple):
    """At most `times` events per window; 0: no limit."""

    name: str
    times: int
    period_s: int


class Counter(NamedTuple):
    """The subject is a user id, or a digest of an account or address; the part is a digest of one of its API keys."""

    limit: RateLimit
    subject: str
    part: str = ""

    @property
    def key(self) -> str:
        """The key in Redis."""
        return f"rate-limit:{{{self.subject}}}:{self.limit.name}" + (f":{self.part}" if self.part else "")


class Count(NamedTuple):
    """`wait_ms`: until the window of `exceeded` ends; 0: within all limits. `value`: the other key's string."""

    wait_ms: int
    value: bytes | None = None
    exceeded: Counter | None = None


# KEYS: counters, optional other key. ARGV: amount, then times and period in ms of each counter. Returns the number of
# the first exceeded counter and ms to wait, or the other key's value.
_COUNT = Script("""
local amount = tonumber(ARGV[1])
local size = (#ARGV - 1) / 2
for number = 1, size do
    local key, times = KEYS[number], tonumber(ARGV[2 * number])
    if times > 0 then
        local count = redis.call('INCRBY', key, amount)
        if count == amount then redis.call('PEXPIRE', key, ARGV[2 * number + 1]) end
        if count > times then return {number, math.max(redis.call('PTTL', key), 1)} end
    end
end
local value = KEYS[size + 1] and redis.pcall('GET', KEYS[size + 1])
return type(value) == 'string' and value
""")


class RateLimitCounter:
    """Counts in fixed windows. All methods raise redis.RedisError."""

    def __init__(self, settings: Settings) -> None:
        self._redis = RedisClient(settings.redis, settings.redis_timeout_s)

    def count(self, counters: Sequence[Counter], amount: int = 1, *, read: str | None = None) -> Count:
        """Count events and read a key of the same slot, in one round trip.

        The counters, of one subject, count in order; those after an exceeded one do not.
        """
        if not counters and read is None:
            return Count(0)
        keys = [counter.key for counter in counters]
        arguments = [amount]
        for counter in counters:
            arguments += counter.limit.times, counter.limit.period_s * 1000
        result = self._redis.run(_COUNT, keys if read is None else [*keys, read], arguments)
        if isinstance(result, list):
            number, wait_ms = result
            return Count(wait_ms, exceeded=counters[number - 1])
        return Count(0, result)

    def check(self, counter: Counter) -> Count:
        """Return the result of one more event, without counting it."""
        with self._redis.client() as client:
            count = int(client.get(counter.key) or 0)
            wait_ms = client.pttl(counter.key) if count >= counter.limit.times else 0
        # Negative: the window has just ended.
        return Count(max(wait_ms, 0))

    def delete(self, counter: Counter) -> None:
        """Delete a counter."""
        with self._redis.client() as client:
            client.delete(counter.key)

    def close(self) -> None:
        """Close all connections."""
        self._redis.close()
