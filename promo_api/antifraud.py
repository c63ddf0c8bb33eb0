"""The anti-fraud service: may this user activate?

A verdict comes from Redis, if the service said how long it holds; else from the service, which is asked at most twice.
No verdict is a no. The service is foreign and slow: it is asked while no database connection is held.
"""

import logging
from datetime import UTC, datetime, timedelta
from uuid import UUID

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from promo_api.antifraud_client import AntifraudClient, NoAnswer, Verdict
from promo_api.settings import Settings

_log = logging.getLogger(__name__)

_ATTEMPTS = 2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CACHED = {b"yes": True, b"no": False}


class Antifraud:
    """Asks the service, and keeps its verdicts for as long as they hold."""

    def __init__(self, settings: Settings) -> None:
        self._client = AntifraudClient(settings)
        self._redis = redis.Redis(
            host=settings.redis_host,
            port=settings.redis_port,
            socket_timeout=settings.redis_timeout_s,
            socket_connect_timeout=settings.redis_timeout_s,
            # Once more, since a restart of Redis leaves dead connections in the pool.
            retry=Retry(NoBackoff(), 1),
            max_connections=None,
        )

    def allows(self, user_id: UUID, email: str, promo_id: UUID) -> bool:
        """Tell whether the user may activate the promo; False also if the service can't say."""
        verdict = self._cached(user_id)
        if verdict is None:
            verdict = self._asked(user_id, email, promo_id)
        return verdict

    def blocked(self, user_id: UUID) -> bool:
        """Tell whether a refusal of the user is kept that still holds; the service is not asked."""
        return self._cached(user_id) is False

    def ping_cache(self) -> None:
        """Raise redis.RedisError, with a reason, if Redis does not answer."""
        self._redis.ping()

    def ping_service(self) -> None:
        """Raise requests.RequestException, with a reason, if nothing listens at the address of the service."""
        self._client.ping()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()
        self._redis.close()

    def _cached(self, user_id: UUID) -> bool | None:
        try:
            kept = self._redis.get(_key(user_id))
        except redis.RedisError as error:
            _log.warning("antifraud_cache_unavailable: %s", type(error).__name__)
            return None
        return _CACHED.get(kept) if isinstance(kept, bytes) else None

    def _asked(self, user_id: UUID, email: str, promo_id: UUID) -> bool:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                verdict = self._client.ask(email, promo_id)
            except NoAnswer as error:
                _log.warning("antifraud_no_answer: attempt %d of %d, %s", attempt, _ATTEMPTS, error)
            else:
                self._keep(user_id, verdict)
                return verdict.ok
        return False

    def _keep(self, user_id: UUID, verdict: Verdict) -> None:
        if verdict.holds_until is None or verdict.holds_until <= datetime.now(UTC):
            return
        until_ms = (verdict.holds_until - _EPOCH) // timedelta(milliseconds=1)
        try:
            self._redis.set(_key(user_id), "yes" if verdict.ok else "no", pxat=until_ms)
        except redis.RedisError as error:
            _log.warning("antifraud_cache_unavailable: %s", type(error).__name__)


def _key(user_id: UUID) -> str:
    return f"antifraud:verdict:{user_id}"
