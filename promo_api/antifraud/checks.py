"""The anti-fraud check: may this user activate a promo?

The verdict comes from the cache in Redis, or else from the anti-fraud service, which is called at most twice. Without a
verdict the activation is denied. The service may be slow, so one attempt per user calls it at a time, and a circuit
breaker stops calls after repeated failures.
"""

import logging
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

from promo_api.antifraud.client import AntifraudClient, NoVerdict, Verdict
from promo_api.antifraud.verdict_cache import Decision, Lease, VerdictCache
from promo_api.circuit_breaker import CircuitBreaker, State
from promo_api.config.settings import Settings
from promo_api.telemetry import metrics

_log = logging.getLogger(__name__)

_CALLS = 2
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S, _PAUSE_GROWTH = 0.005, 0.05, 1.5


class Antifraud:
    """Checks users against the cached verdicts and the anti-fraud service.

    Attempts of one user run one after the other, in all processes: the first attempt calls the service, the others
    usually find its verdict in the cache. A check takes at most

        ANTIFRAUD_LEASE_TIMEOUT_S                                         to wait for the lease
        + 2 x (ANTIFRAUD_CONNECT_TIMEOUT_S + ANTIFRAUD_READ_TIMEOUT_S)   for two calls
        + 12 x REDIS_TIMEOUT_S                                           if Redis stops responding

    The last line is six commands to Redis, each tried twice: read the verdict, acquire, renew and release the lease,
    and record two changes of the circuit breaker.
    """

    def __init__(self, settings: Settings) -> None:
        self._client = AntifraudClient(settings)
        self._verdicts = VerdictCache(settings)
        self._lease_timeout_s = settings.antifraud_lease_timeout_s
        self._cooldown_s = settings.antifraud_breaker_cooldown_s
        self._attempt_s = _CALLS * (settings.antifraud_connect_timeout_s + settings.antifraud_read_timeout_s)
        self._breaker = CircuitBreaker(settings.antifraud_breaker_failures, self._cooldown_s, self._on_breaker_change)

    def check(self, user_id: UUID, email: str, promo_id: UUID) -> bool:
        """Return whether the user may activate the promo. Without a verdict the result is False."""
        if self._breaker.refuses():
            return self._verdicts.find(user_id) is True
        lease, deadline_s = Lease(user_id), time.monotonic() + self._lease_timeout_s
        decision = self._acquire(lease, deadline_s)
        if decision is not Decision.ASK:
            return decision is Decision.ALLOW
        verdict = None
        try:
            verdict = self._breaker.run(lambda: self._call(lease, deadline_s, email, promo_id))
        finally:
            self._verdicts.release(lease, verdict)
        return verdict is not None and verdict.ok

    def is_blocked(self, user_id: UUID) -> bool:
        """Return whether the cached verdict denies the user."""
        return self._verdicts.find(user_id) is False

    def delete_verdict(self, user_id: UUID) -> None:
        """Delete the cached verdict of a user."""
        self._verdicts.delete(user_id)

    def list_open_breakers(self) -> list[tuple[str, datetime]]:
        """Return the processes (host:pid) whose circuit breaker is open, and until when. Raises redis.RedisError."""
        return self._verdicts.list_open_breakers()

    def ping_cache(self) -> None:
        """Raise redis.RedisError if Redis is unavailable."""
        self._verdicts.ping()

    def ping_service(self) -> None:
        """Raise OSError if no connection to the service can be opened. No request is sent."""
        self._client.ping()

    def is_unavailable(self) -> bool:
        """Return whether the circuit breaker of this process refuses calls."""
        return self._breaker.refuses()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()
        self._verdicts.close()

    def _acquire(self, lease: Lease, deadline_s: float) -> Decision:
        """Wait for a verdict or the lease. WAIT: timeout, or the circuit breaker opened."""
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
            # Renew the lease. If it has expired, another attempt may hold it, or may have cached a verdict.
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
        """Publish the state of the circuit breaker: in metrics, in the log, and in Redis for `check`."""
        metrics.breaker_changed(state.value)
        if state is State.CLOSED:
            _log.warning("antifraud_breaker_closed")
            self._verdicts.delete_open_breaker()
            return
        if state is State.OPEN:
            _log.warning("antifraud_breaker_opened", extra={"cooldown_s": self._cooldown_s})
        # `check` reports a half-open circuit too, because it refuses all activations but the probe.
        seconds = self._cooldown_s if state is State.OPEN else self._attempt_s
        self._verdicts.record_open_breaker(datetime.now(UTC) + timedelta(seconds=seconds))
