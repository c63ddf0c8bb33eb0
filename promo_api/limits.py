"""How often one may try: to sign in without success, to sign up, to activate. Counted in Redis for all processes.

| Limit | What is counted | Setting |
|---|---|---|
| failed-sign-ins-per-account | sign-ins to an account that failed, even to none | FAILED_SIGN_INS_PER_ACCOUNT |
| failed-sign-ins-per-address | sign-ins from a client address that failed | FAILED_SIGN_INS_PER_ADDRESS |
| sign-ups-per-address | sign-ups from a client address, whatever becomes of them | SIGN_UPS_PER_ADDRESS |
| activations-per-user | activations that a user tries, whatever becomes of them | ACTIVATIONS_PER_USER |

A period begins with the first thing that is counted, and nothing of it counts once it is over: so it can happen that
twice as much is let through within the length of one period, and never more on average. That is what one command for
each counter buys; and when a period ends is known to the second.

Keys in Redis are `limits:{limit}/{who}/...`. Accounts, users and addresses are in them as digests, which only those who
have the SECRET_KEY can tell from others. They go when their period ends.

Redis being away is no error for anybody, only a warning: nothing is limited then.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import blake2b, sha256
from math import ceil
from threading import Lock
from typing import Any, NamedTuple
from uuid import UUID

import redis
from cachetools import LRUCache
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import RedisStorage, Storage
from limits.strategies import FixedWindowRateLimiter

from promo_api import metrics
from promo_api.errors import TooManyRequests
from promo_api.networks import client_network
from promo_api.redis_client import RedisClient
from promo_api.setting_values import Rate
from promo_api.settings import Settings

_log = logging.getLogger(__name__)

# Redis tells to the second, rounded, when a period ends.
_ROUNDING_S = 1
_SHARES = 100
# Users whose activations have not been told to Redis yet; of those that are forgotten less than a share each is lost.
_UNTOLD_MAX = 10_000


class Counter(NamedTuple):
    """A limit, and who it is counted for."""

    limit: RateLimitItem
    who: str


class Limits:
    """Counts what is limited, and refuses what is too much.

    What is asked for is a list of counters, without those whose limits are off: with none of them nothing is sent to
    Redis.
    """

    def __init__(self, settings: Settings) -> None:
        self._redis = RedisClient(settings.redis, settings.redis_timeout_s)
        # The first one: what is added to read tokens with, or taken away, begins no counter anew.
        self._key = sha256(settings.secret_keys[0].encode()).digest()
        self._limiter: FixedWindowRateLimiter | None = None
        self._failures_of_account = _limit("failed-sign-ins-per-account", settings.failed_sign_ins_per_account)
        self._failures_of_address = _limit("failed-sign-ins-per-address", settings.failed_sign_ins_per_address)
        self._sign_ups = _limit("sign-ups-per-address", settings.sign_ups_per_address)
        self._activations = _limit("activations-per-user", settings.activations_per_user)
        self._untold: LRUCache[UUID, int] = LRUCache(_UNTOLD_MAX)
        self._lock = Lock()

    def of_sign_in(self, kind: str, email: str, address: str) -> list[Counter]:
        """Return what counts failed sign-ins to an account of this kind, and from a client address."""
        account = self._digest(f"{kind} {email.casefold()}")
        return [
            *_counters(self._failures_of_account, account),
            *_counters(self._failures_of_address, self._digest(client_network(address))),
        ]

    def of_sign_up(self, address: str) -> list[Counter]:
        """Return what counts sign-ups from a client address."""
        return _counters(self._sign_ups, self._digest(client_network(address)))

    def check(self, counters: Sequence[Counter]) -> None:
        """Look whether one more would be too much, and count nothing.

        Raises:
            TooManyRequests: it would.
        """
        self._judge(FixedWindowRateLimiter.test, counters)

    def count(self, counters: Sequence[Counter]) -> None:
        """Count one more on each of the counters.

        Raises:
            TooManyRequests: it is too much for one of them. Of those that are counted at once, by however many
                processes, so many pass as the limit says.
        """
        self._judge(FixedWindowRateLimiter.hit, counters)

    def count_activation(self, user_id: UUID) -> None:
        """Count an activation that a user tries.

        Redis is told of a hundredth of the limit at once: to tell it each time took a quarter of the activations that
        there can be. So a limit of up to a hundred is exact, and above it each process may let nearly a hundredth more
        through.

        Raises:
            TooManyRequests: it is too much.
        """
        limit = self._activations
        if limit is None:
            return
        share = max(1, limit.amount // _SHARES)
        with self._lock:
            untold = self._untold.pop(user_id, 0) + 1
            if untold < share:
                self._untold[user_id] = untold
                return
        try:
            hit = partial(FixedWindowRateLimiter.hit, cost=share)
            self._judge(hit, _counters(limit, self._digest(str(user_id))))
        except TooManyRequests:
            with self._lock:
                self._untold[user_id] = share - 1  # the next one asks again
            raise

    def close(self) -> None:
        """Close all connections."""
        self._redis.close()

    def _judge(self, passes: Callable[..., bool], counters: Sequence[Counter]) -> None:
        if not counters:
            return
        try:
            with self._lent() as limiter:
                spent = [counter for counter in counters if not passes(limiter, *counter)]
                # All of them must be over before a further try can pass.
                ends_at = {counter.limit: limiter.get_window_stats(*counter).reset_time for counter in spent}
        except redis.RedisError as error:
            metrics.limits_unavailable()
            _log.warning("limits_unavailable", extra={"reason": type(error).__name__})
            return
        if ends_at:
            limit = max(ends_at, key=ends_at.__getitem__)
            raise _too_many(limit, ends_at[limit] - time.time())

    @contextmanager
    def _lent(self) -> Iterator[FixedWindowRateLimiter]:
        """Lend what counts in Redis.

        Raises:
            redis.RedisError: whatever goes wrong with Redis.
        """
        with self._redis.lent() as client:
            # Made of the client that is lent: of two that were made at once, only one stays.
            if self._limiter is None or self._limiter.storage.storage is not client:  # type: ignore[attr-defined]
                self._limiter = FixedWindowRateLimiter(_Counts(client))
            yield self._limiter

    def _digest(self, text: str) -> str:
        return blake2b(text.encode(), key=self._key, digest_size=16).hexdigest()


class _Counts(RedisStorage):
    """The counters in Redis, over a client of ours: with its time limits, be it of one server, Sentinels or a Cluster.

    The class that this one is made of makes a client of its own, of one server. Those that limits has for Sentinels and
    Clusters do as this one does: they leave out its constructor, and use all the rest.
    """

    def __init__(self, client: Any) -> None:
        Storage.__init__(self)
        self.storage, self.dependency, self.target_server = client, redis, "redis"
        self.key_prefix = "limits"
        self.initialize_storage("")


def _limit(name: str, rate: Rate) -> RateLimitItem | None:
    return RateLimitItemPerSecond(rate.times, rate.period_s, name) if rate.times else None


def _counters(limit: RateLimitItem | None, who: str) -> list[Counter]:
    return [] if limit is None else [Counter(limit, who)]


def _too_many(limit: RateLimitItem, left_s: float) -> TooManyRequests:
    metrics.limited(limit.namespace)
    return TooManyRequests(
        "This was tried too often. Try again later.",
        limit=limit.namespace,
        times=limit.amount,
        period_s=limit.multiples,
        retry_after_s=min(max(ceil(left_s), 0) + _ROUNDING_S, limit.multiples),
    )
