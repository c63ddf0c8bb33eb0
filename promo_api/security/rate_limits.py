"""Rate limits, counted in Redis in fixed windows.

The setting of `likes-per-user` is LIKES_PER_USER. Sign-ins, sign-ups, password resets, activations and unknown codes
are counted exactly, other events in steps of 1 % of the limit. Without Redis only arrivals are limited.
"""

import logging
from collections.abc import Callable, Sequence
from hashlib import blake2b, sha256
from math import ceil
from uuid import UUID

import redis

from promo_api.antifraud.verdict_cache import read_verdict, verdict_key
from promo_api.config.settings import Settings
from promo_api.contract.client_address import client_network
from promo_api.errors import TooManyRequests
from promo_api.folding import fold
from promo_api.security.local_counters import ArrivalCounter, ExceededLimits, StepCounter
from promo_api.security.rate_limit_counter import Count, Counter, RateLimit, RateLimitCounter
from promo_api.telemetry import metrics

_log = logging.getLogger(__name__)

PASSWORD_CHANGES = "password-changes-per-user"  # noqa: S105 it is the name of a limit
ACTIVATIONS = "activations-per-user"
LIKES = "likes-per-user"
COMMENTS = "comments-per-user"
REPORTS = "reports-per-user"
PROMOS = "promos-per-company"
CODES = "codes-per-company"
IDEMPOTENCY_KEYS = "idempotency-keys-per-account"


class RateLimits:
    """Counts events. The `check` and `count` methods raise TooManyRequests above a limit."""

    def __init__(self, settings: Settings) -> None:
        # Key rotation does not reset counters: only the signing key is used.
        self._key = sha256(settings.secret_keys[0].encode()).digest()
        self._reads_verdicts = settings.antifraud_address is not None
        self._counter = RateLimitCounter(settings)
        self._failures_of_account = RateLimit("failed-sign-ins-per-account", *settings.failed_sign_ins_per_account)
        self._failures_of_address = RateLimit("failed-sign-ins-per-address", *settings.failed_sign_ins_per_address)
        self._sign_ups = RateLimit("sign-ups-per-address", *settings.sign_ups_per_address)
        self._sign_ins = RateLimit("sign-ins-per-account", *settings.sign_ins_per_account)
        self._forgot_of_account = RateLimit("forgot-passwords-per-account", *settings.forgot_passwords_per_account)
        self._forgot_of_address = RateLimit("forgot-passwords-per-address", *settings.forgot_passwords_per_address)
        self._failed_resets = RateLimit("failed-resets-per-address", *settings.failed_resets_per_address)
        self._unknown_codes_of_company = RateLimit("unknown-codes-per-company", *settings.unknown_codes_per_company)
        self._unknown_codes_of_key = RateLimit("unknown-codes-per-key", *settings.unknown_codes_per_key)
        rates = {
            PASSWORD_CHANGES: settings.password_changes_per_user,
            ACTIVATIONS: settings.activations_per_user,
            LIKES: settings.likes_per_user,
            COMMENTS: settings.comments_per_user,
            REPORTS: settings.reports_per_user,
            PROMOS: settings.promos_per_company,
            CODES: settings.codes_per_company,
            IDEMPOTENCY_KEYS: settings.idempotency_keys_per_account,
        }
        self._account_limits = {name: RateLimit(name, *rate) for name, rate in rates.items()}
        self._steps = StepCounter()
        self._exceeded = ExceededLimits()
        self._arrivals = {name: ArrivalCounter(*rates[name]) for name in (PASSWORD_CHANGES, ACTIVATIONS)}

    def failed_sign_ins(self, kind: str, email: str, address: str) -> list[Counter]:
        """Return the counters of an account, which may not exist, and of a client address."""
        return [
            *_counters(self._failures_of_account, self.digest_account(kind, email)),
            *_counters(self._failures_of_address, self.digest_address(address)),
        ]

    def successful_sign_ins(self, kind: str, email: str) -> list[Counter]:
        """Return the counter of an account."""
        return _counters(self._sign_ins, self.digest_account(kind, email))

    def sign_ups(self, address: str) -> list[Counter]:
        """Return the counter of a client address."""
        return _counters(self._sign_ups, self.digest_address(address))

    def forgot_passwords(self, kind: str, email: str, address: str) -> list[Counter]:
        """Return the counters of an account, which may not exist, and of a client address."""
        return [
            *_counters(self._forgot_of_account, self.digest_account(kind, email)),
            *_counters(self._forgot_of_address, self.digest_address(address)),
        ]

    def failed_resets(self, address: str) -> list[Counter]:
        """Return the counter of a client address."""
        return _counters(self._failed_resets, self.digest_address(address))

    def unknown_codes(self, company_id: UUID, key_id: UUID | None) -> list[Counter]:
        """Return the counters of codes that a company does not have: of the API key, if one was used, and the company.

        The key comes first: once it exceeds its limit, it does not use up the limit of the company.
        """
        company = self._digest(str(company_id))
        of_key = [] if key_id is None else _counters(self._unknown_codes_of_key, company, self._digest(str(key_id)))
        return [*of_key, *_counters(self._unknown_codes_of_company, company)]

    def digest_account(self, kind: str, email: str) -> str:
        """Return the account's digest for Redis and the log."""
        return self._digest(f"{kind} {fold(email)}")

    def digest_address(self, address: str) -> str:
        """Return a client address's digest for Redis and the log."""
        return self._digest(client_network(address))

    def check(self, counters: Sequence[Counter]) -> None:
        """Check whether another event is allowed, without counting it."""
        _refuse(self._wait_s(self._counter.check, counters))

    def count(self, counters: Sequence[Counter]) -> None:
        """Count an event on each counter."""
        _refuse(self._wait_s(lambda counter: self._counter.count([counter]), counters))

    def check_locally(self, counters: Sequence[Counter]) -> None:
        """Refuse if `count_unknown_code` has refused an event in this worker. No round trip to Redis."""
        _refuse({counter: self._exceeded.wait_s(counter) for counter in counters})

    def count_unknown_code(self, counters: Sequence[Counter]) -> None:
        """Count an unknown code on the counters in order, up to an exceeded one, which `check_locally` then knows."""
        try:
            count = self._counter.count(counters)
        except redis.RedisError as error:
            _warn(error)
            return
        if count.exceeded is not None:
            self._exceeded.add(count.exceeded, count.wait_ms / 1000)
            raise _too_many(count.exceeded.limit, count.wait_ms / 1000)

    def count_for(self, name: str, account_id: UUID, amount: int = 1) -> None:
        """Count events of an account, in steps."""
        limit, key = self._account_limits[name], (name, account_id)
        due = self._steps.add(key, amount, limit.times) if limit.times and amount else 0
        if not due:
            return
        counter = Counter(limit, self._digest(str(account_id)))
        try:
            _refuse(self._wait_s(lambda counter: self._counter.count([counter], due), [counter]))
        except TooManyRequests:
            self._steps.flush_next(key, limit.times)
            raise

    def count_activation(self, user_id: UUID) -> bool | None:
        """Count an activation; return the cached verdict, or None, in the same round trip.

        Without an anti-fraud service the result is True.
        """
        counter = self._activations(user_id)
        try:
            count = self._counter.count([counter], read=verdict_key(user_id) if self._reads_verdicts else None)
        except redis.RedisError as error:
            _warn(error)
            if not self._reads_verdicts:
                return True
            metrics.verdict_cache_unavailable()
            return None
        if count.wait_ms:
            raise _too_many(counter.limit, count.wait_ms / 1000)
        return read_verdict(count.value) if self._reads_verdicts else True

    def delete_activations(self, user_id: UUID) -> None:
        """Delete the counter of a user's activations, the only one with the id in its key."""
        try:
            self._counter.delete(self._activations(user_id))
        except redis.RedisError as error:
            _warn(error)

    def delete_sign_ins(self, kind: str, email: str) -> bool:
        """Delete the counters of an account's failed and successful sign-ins; False if Redis is unavailable."""
        account = self.digest_account(kind, email)
        try:
            for limit in (self._failures_of_account, self._sign_ins):
                self._counter.delete(Counter(limit, account))
        except redis.RedisError as error:
            _warn(error)
            return False
        return True

    def count_arrival(self, name: str, account_id: UUID) -> None:
        """Count a request on arrival, in this worker alone."""
        limit = self._account_limits[name]
        wait_s = self._arrivals[name].count(account_id) if limit.times else 0
        if wait_s:
            raise _too_many(limit, wait_s)

    def close(self) -> None:
        """Close all connections."""
        self._counter.close()

    def _activations(self, user_id: UUID) -> Counter:
        return Counter(self._account_limits[ACTIVATIONS], str(user_id))

    def _wait_s(self, command: Callable[[Counter], Count], counters: Sequence[Counter]) -> dict[Counter, float]:
        """Return the seconds to wait, for each counter; empty if Redis is unavailable."""
        try:
            return {counter: command(counter).wait_ms / 1000 for counter in counters}
        except redis.RedisError as error:
            _warn(error)
            return {}

    def _digest(self, text: str) -> str:
        return blake2b(text.encode(), key=self._key, digest_size=16).hexdigest()


def _counters(limit: RateLimit, subject: str, part: str = "") -> list[Counter]:
    return [Counter(limit, subject, part)] if limit.times else []


def _refuse(wait_s: dict[Counter, float]) -> None:
    """Refuse the request if a limit is exceeded; the longest wait decides."""
    longest = max(wait_s, key=wait_s.__getitem__, default=None)
    if longest is not None and wait_s[longest]:
        raise _too_many(longest.limit, wait_s[longest])


def _warn(error: redis.RedisError) -> None:
    metrics.rate_limits_unavailable()
    _log.warning("rate_limits_unavailable", extra={"reason": type(error).__name__})


def _too_many(limit: RateLimit, wait_s: float) -> TooManyRequests:
    metrics.rate_limited(limit.name)
    return TooManyRequests(
        "Too many attempts. Try again later.",
        limit=limit.name,
        times=limit.times,
        period_s=limit.period_s,
        retry_after_s=min(ceil(wait_s), limit.period_s),
    )
