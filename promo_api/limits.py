"""Rate limits, counted in Redis for all processes.

| Limit | Counts | Setting |
|---|---|---|
| failed-sign-ins-per-account | failed sign-ins to an account, whether it exists or not | FAILED_SIGN_INS_PER_ACCOUNT |
| failed-sign-ins-per-address | failed sign-ins from a client address | FAILED_SIGN_INS_PER_ADDRESS |
| sign-ins-per-account | successful sign-ins to an account | SIGN_INS_PER_ACCOUNT |
| sign-ups-per-address | sign-ups from a client address, successful or not | SIGN_UPS_PER_ADDRESS |
| password-changes-per-user | changes of a user's password | PASSWORD_CHANGES_PER_USER |
| activations-per-user | activations of a user, granted or not | ACTIVATIONS_PER_USER |
| likes-per-user | likes of a user, given and taken back | LIKES_PER_USER |
| comments-per-user | comments that a user writes | COMMENTS_PER_USER |
| promos-per-company | promos that a company creates | PROMOS_PER_COMPANY |
| codes-per-company | codes of the UNIQUE promos that a company creates | CODES_PER_COMPANY |
| idempotency-keys-per-account | requests with a new Idempotency-Key | IDEMPOTENCY_KEYS_PER_ACCOUNT |

A period begins with the first event in it, and ends with all of its counts. So up to twice the limit may pass within
the length of one period, but never more on average. In return a count is one command.

Limits of accounts that are above a hundred are counted in steps: each worker flushes its counts to Redis in steps of
1 % of the limit, so it may exceed the limit by up to 1 %. A round trip for each like or activation would cost a quarter
of the throughput.

Keys in Redis are `limits:{limit}/{digest}/...`: digests of accounts, users and addresses, keyed with SECRET_KEY. They
expire with their period.

When Redis is unavailable, a warning is logged, and nothing is limited but activations and
password changes, as far as one worker counts them.
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
from promo_api.contract.client_address import client_network
from promo_api.errors import TooManyRequests
from promo_api.redis_client import RedisClient
from promo_api.setting_values import Rate
from promo_api.settings import Settings

_log = logging.getLogger(__name__)

# Redis tells to the second, rounded, when a period ends.
_ROUNDING_S = 1
_STEPS = 100
# Accounts with counts that have not been flushed to Redis. For each one beyond this, less than 1 % of a limit is lost.
_UNFLUSHED_MAX = 10_000
# Accounts whose requests this worker counts on arrival.
_ARRIVALS_MAX = 10_000


PASSWORD_CHANGES = "password-changes-per-user"  # noqa: S105 it is the name of a limit
ACTIVATIONS = "activations-per-user"
LIKES = "likes-per-user"
COMMENTS = "comments-per-user"
PROMOS = "promos-per-company"
CODES = "codes-per-company"
IDEMPOTENCY_KEYS = "idempotency-keys-per-account"


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
        # Key rotation does not reset counters: only the signing key is used.
        self._key = sha256(settings.secret_keys[0].encode()).digest()
        self._limiter: FixedWindowRateLimiter | None = None
        self._failures_of_account = _limit("failed-sign-ins-per-account", settings.failed_sign_ins_per_account)
        self._failures_of_address = _limit("failed-sign-ins-per-address", settings.failed_sign_ins_per_address)
        self._sign_ups = _limit("sign-ups-per-address", settings.sign_ups_per_address)
        self._sign_ins = _limit("sign-ins-per-account", settings.sign_ins_per_account)
        self._of_accounts = {
            name: _limit(name, rate)
            for name, rate in (
                (PASSWORD_CHANGES, settings.password_changes_per_user),
                (ACTIVATIONS, settings.activations_per_user),
                (LIKES, settings.likes_per_user),
                (COMMENTS, settings.comments_per_user),
                (PROMOS, settings.promos_per_company),
                (CODES, settings.codes_per_company),
                (IDEMPOTENCY_KEYS, settings.idempotency_keys_per_account),
            )
        }
        self._unflushed: LRUCache[tuple[str, UUID], int] = LRUCache(_UNFLUSHED_MAX)
        self._lock = Lock()
        # By limit and account: when a period began, by time.monotonic, and how many requests have arrived in it.
        self._arrivals: LRUCache[tuple[str, UUID], tuple[float, int]] = LRUCache(_ARRIVALS_MAX)

    def of_sign_in(self, kind: str, email: str, address: str) -> list[Counter]:
        """Return what counts failed sign-ins to an account of this kind, and from a client address."""
        return [
            *_counters(self._failures_of_account, self.digest_account(kind, email)),
            *_counters(self._failures_of_address, self.digest_address(address)),
        ]

    def of_success(self, kind: str, email: str) -> list[Counter]:
        """Return what counts successful sign-ins to an account of this kind."""
        return _counters(self._sign_ins, self.digest_account(kind, email))

    def digest_account(self, kind: str, email: str) -> str:
        """Return what stands for an account in Redis and in the log."""
        return self._digest(f"{kind} {email.casefold()}")

    def digest_address(self, address: str) -> str:
        """Return what stands for a client address in Redis and in the log."""
        return self._digest(client_network(address))

    def of_sign_up(self, address: str) -> list[Counter]:
        """Return what counts sign-ups from a client address."""
        return _counters(self._sign_ups, self.digest_address(address))

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

    def count_arrival(self, name: str, account_id: UUID) -> None:
        """Count a request that has arrived, by the name of its limit; on the event loop, without Redis.

        So a request above the limit is refused at once, and does not wait for a thread.

        Raises:
            TooManyRequests: this worker alone has more of them than the limit allows.
        """
        limit, key = self._of_accounts[name], (name, account_id)
        if limit is None:
            return
        now_s, period_s = time.monotonic(), limit.get_expiry()
        began_s, arrived = self._arrivals.get(key, (now_s, 0))
        if now_s - began_s >= period_s:
            began_s, arrived = now_s, 0
        if arrived >= limit.amount:
            raise _too_many(limit, began_s + period_s - now_s)
        self._arrivals[key] = began_s, arrived + 1

    def count_for(self, name: str, account_id: UUID, amount: int = 1) -> None:
        """Count something that an account does, by the name of its limit, in steps.

        Raises:
            TooManyRequests: it is too much.
        """
        limit = self._of_accounts[name]
        if limit is None or not amount:
            return
        step, key = max(1, limit.amount // _STEPS), (name, account_id)
        with self._lock:
            unflushed = self._unflushed.pop(key, 0) + amount
            if unflushed < step:
                self._unflushed[key] = unflushed
                return
        try:
            hit = partial(FixedWindowRateLimiter.hit, cost=unflushed)
            self._judge(hit, _counters(limit, self._digest(str(account_id))))
        except TooManyRequests:
            with self._lock:
                self._unflushed[key] = step - 1  # the next count is flushed
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
