"""The anti-fraud service: may this user activate?

A verdict comes from Redis, if the service said how long it holds; else from the service, which is asked at most twice.
No verdict is a no. The service is foreign and slow: it is asked while no database connection is held.
"""

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from uuid import UUID

import orjson
import redis
import requests
from redis.backoff import NoBackoff
from redis.retry import Retry
from requests.adapters import HTTPAdapter

from promo_api.settings import Settings

_log = logging.getLogger(__name__)

_ATTEMPTS = 2
_ANSWER_MAX_BYTES = 64 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CACHED = {b"yes": True, b"no": False}


@dataclass(frozen=True)
class Verdict:
    """An answer of the service; `holds_until` (UTC) None: it counts for this attempt only."""

    ok: bool
    holds_until: datetime | None


class NoAnswer(Exception):
    """The service did not answer in time, or not in the form of its protocol."""


class Antifraud:
    """Asks the service, and keeps its verdicts for as long as they hold."""

    def __init__(self, settings: Settings) -> None:
        self._url = f"{settings.antifraud_address}/api/validate"
        self._connect_timeout_s = settings.antifraud_connect_timeout_s
        self._read_timeout_s = settings.antifraud_read_timeout_s
        self._http = requests.Session()
        # Proxies and credentials of the environment are no settings of ours.
        self._http.trust_env = False
        self._http.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        for scheme in ("http://", "https://"):
            self._http.mount(scheme, HTTPAdapter(pool_maxsize=settings.server_threads))
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
        timeouts = (self._connect_timeout_s, self._read_timeout_s)
        self._http.get(self._url, timeout=timeouts, allow_redirects=False).close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()
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
                verdict = self._ask(email, promo_id)
            except NoAnswer as error:
                _log.warning("antifraud_no_answer: attempt %d of %d, %s", attempt, _ATTEMPTS, error)
            else:
                self._keep(user_id, verdict)
                return verdict.ok
        return False

    def _ask(self, email: str, promo_id: UUID) -> Verdict:
        question = {"user_email": email, "promo_id": str(promo_id)}
        timeouts = (self._connect_timeout_s, self._read_timeout_s)
        deadline = time.monotonic() + sum(timeouts)
        try:
            with self._http.post(
                self._url, json=question, timeout=timeouts, stream=True, allow_redirects=False
            ) as response:
                if response.status_code != requests.codes.ok:
                    raise NoAnswer(f"status {response.status_code}")
                return _verdict(_body(response, deadline))
        except requests.RequestException as error:
            raise NoAnswer(type(error).__name__) from error

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


def _body(response: requests.Response, deadline: float) -> bytes:
    """Read an answer that may not grow without end, nor trickle in for longer than the time limits allow."""
    body = bytearray()
    for part in response.iter_content(4096):
        body += part
        if len(body) > _ANSWER_MAX_BYTES:
            raise NoAnswer("too long")
        if time.monotonic() > deadline:
            raise NoAnswer("too slow")
    return bytes(body)


def _verdict(body: bytes) -> Verdict:
    try:
        answer: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NoAnswer("no JSON") from error
    if not isinstance(answer, dict) or not isinstance(answer.get("ok"), bool):
        raise NoAnswer("no verdict")
    until = answer.get("cache_until")
    return Verdict(answer["ok"], None if until is None else _instant(until))


def _instant(text: object) -> datetime:
    if not isinstance(text, str):
        raise NoAnswer("cache_until is no time")
    try:
        instant = datetime.fromisoformat(text)
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise NoAnswer("cache_until is no time") from error
