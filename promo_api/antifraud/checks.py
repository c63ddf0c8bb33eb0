"""The anti-fraud check: may this user activate a promo?

Without a cached verdict the service is called, at most twice. Without any verdict the activation is denied. With
ANTIFRAUD_ADDRESS=none every activation is allowed.
"""

import logging
import time
from datetime import UTC, datetime, timedelta
from math import ceil
from uuid import UUID

from promo_api.antifraud.client import AntifraudClient, NoVerdict, Verdict
from promo_api.antifraud.verdict_cache import Decision, Lease, VerdictCache
from promo_api.circuit_breaker import CircuitBreaker, State
from promo_api.config.settings import Settings
from promo_api.errors import AntifraudUnavailable
from promo_api.telemetry import metrics

_log = logging.getLogger(__name__)

DISABLED = "ANTIFRAUD_ADDRESS is none: activations are allowed without an anti-fraud check."

_CALLS = 2
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S, _PAUSE_GROWTH = 0.005, 0.05, 1.5


class Antifraud:
    """Checks users; one attempt per user calls the service at a time.

    A check takes at most

        ANTIFRAUD_LEASE_TIMEOUT_S
        + 2 x (ANTIFRAUD_CONNECT_TIMEOUT_S + ANTIFRAUD_READ_TIMEOUT_S)   two calls
        + 12 x REDIS_TIMEOUT_S                                           six commands, tried twice
    """

    def __init__(self, settings: Settings) -> None:
        self._client = AntifraudClient(settings)
        self._verdicts = VerdictCache(settings)
        self._lease_timeout_s = settings.antifraud_lease_timeout_s
        self._cooldown_s = settings.antifraud_breaker_cooldown_s
        self._attempt_s = _CALLS * (settings.antifraud_connect_timeout_s + settings.antifraud_read_timeout_s)
        self._breaker = CircuitBreaker(settings.antifraud_breaker_failures, self._cooldown_s, self._on_breaker_change)

    def check(self, user_id: UUID, email: str, promo_id: UUID) -> bool:
        """Return whether the user may activate the promo. Raise AntifraudUnavailable if there is no verdict."""
        verdict = self._find_verdict(user_id, email, promo_id)
        if verdict is None:
            raise AntifraudUnavailable(max(1, ceil(self._breaker.wait_s())))
        return verdict

    def is_blocked(self, user_id: UUID) -> bool:
        """Return whether the cached verdict denies the user."""
        return self._verdicts.find(user_id) is False

    def delete_verdict(self, user_id: UUID) -> None:
        """Delete the cached verdict."""
        self._verdicts.delete(user_id)

    def list_open_breakers(self) -> list[tuple[str, datetime]]:
        """See VerdictCache.list_open_breakers."""
        return self._verdicts.list_open_breakers()

    def ping_cache(self) -> None:
        """Raise redis.RedisError if Redis is unavailable."""
        self._verdicts.ping()

    def read_cache_clock(self) -> datetime:
        """Return the time of Redis (UTC), or raise redis.RedisError."""
        return self._verdicts.read_clock()

    def ping_service(self) -> None:
        """Raise OSError if the service accepts no connection."""
        self._client.ping()

    def is_unavailable(self) -> bool:
        """Return whether the circuit breaker refuses calls."""
        return self._breaker.refuses()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()
        self._verdicts.close()

    def _find_verdict(self, user_id: UUID, email: str, promo_id: UUID) -> bool | None:
        if self._breaker.refuses():
            return self._verdicts.find(user_id)
        lease, deadline_s = Lease(user_id), time.monotonic() + self._lease_timeout_s
        decision = self._acquire(lease, deadline_s)
        if decision is not Decision.ASK:
            return None if decision is Decision.WAIT else decision is Decision.ALLOW
        verdict = None
        try:
            verdict = self._breaker.run(lambda: self._call(lease, deadline_s, email, promo_id))
        finally:
            self._verdicts.release(lease, verdict)
        return None if verdict is None else verdict.ok

    def _acquire(self, lease: Lease, deadline_s: float) -> Decision:
        """Wait for a verdict or the lease. WAIT: timeout or open circuit."""
        pause_s = _SHORTEST_PAUSE_S
        while (decision := self._verdicts.acquire(lease)) is Decision.WAIT and not self._breaker.refuses():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                _log.warning("antifraud_lease_timeout", extra={"user_id": lease.user_id})
                break
            time.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * _PAUSE_GROWTH, _LONGEST_PAUSE_S)
        return decision

    def _call(self, lease: Lease, deadline_s: float, email: str, promo_id: UUID) -> Verdict | None:
        for call in range(1, _CALLS + 1):
            # Renew the lease: if it expired, another attempt may hold it or have cached a verdict.
            if call > 1 and (decision := self._acquire(lease, deadline_s)) is not Decision.ASK:
                return None if decision is Decision.WAIT else Verdict(decision is Decision.ALLOW, None)
            start_s = time.perf_counter()
            try:
                verdict = self._client.ask(email, promo_id)
            except NoVerdict as error:
                metrics.antifraud_failed(time.perf_counter() - start_s)
                _log.warning("antifraud_no_response", extra={"attempt": call, "of": _CALLS, "reason": str(error)})
            else:
                metrics.antifraud_responded(allowed=verdict.ok, duration_s=time.perf_counter() - start_s)
                return verdict
        return None

    def _on_breaker_change(self, state: State) -> None:
        metrics.breaker_changed(state.value)
        if state is State.CLOSED:
            _log.warning("antifraud_breaker_closed")
            self._verdicts.delete_open_breaker()
            return
        if state is State.OPEN:
            _log.warning("antifraud_breaker_opened", extra={"cooldown_s": self._cooldown_s})
        # Half-open too: it refuses all activations but the probe.
        seconds = self._cooldown_s if state is State.OPEN else self._attempt_s
        self._verdicts.record_open_breaker(datetime.now(UTC) + timedelta(seconds=seconds))


class DisabledAntifraud:
    """Allows every activation. Verdicts that were cached before do not count, but are deleted with their user."""

    def __init__(self, settings: Settings) -> None:
        self._verdicts = VerdictCache(settings)

    def check(self, _user_id: UUID, _email: str, _promo_id: UUID) -> bool:
        """Return True."""
        return True

    def is_blocked(self, _user_id: UUID) -> bool:
        """Return False."""
        return False

    def delete_verdict(self, user_id: UUID) -> None:
        """Delete the cached verdict."""
        self._verdicts.delete(user_id)

    def ping_cache(self) -> None:
        """Raise redis.RedisError if Redis is unavailable."""
        self._verdicts.ping()

    def read_cache_clock(self) -> datetime:
        """Return the time of Redis. Raise redis.RedisError if it is unavailable."""
        return self._verdicts.read_clock()

    def close(self) -> None:
        """Close all connections."""
        self._verdicts.close()


def open_antifraud(settings: Settings) -> Antifraud | DisabledAntifraud:
    """Return the check for ANTIFRAUD_ADDRESS."""
    return DisabledAntifraud(settings) if settings.antifraud_address is None else Antifraud(settings)
