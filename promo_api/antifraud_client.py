"""The client of the anti-fraud service: one HTTP call, one verdict, in a limited time."""

from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any
from uuid import UUID

import orjson

from promo_api.deadline_http import DeadlineHttpClient
from promo_api.settings import Settings

_OK = 200


@dataclass(frozen=True)
class Verdict:
    """A verdict of the service. `holds_until` (UTC): how long it may be cached. None: it is for this attempt only."""

    ok: bool
    holds_until: datetime | None


class NoVerdict(Exception):
    """The service was unavailable, or its response violates the protocol."""


class AntifraudClient:
    """Calls the service. A call takes at most ANTIFRAUD_CONNECT_TIMEOUT_S + ANTIFRAUD_READ_TIMEOUT_S."""

    def __init__(self, settings: Settings) -> None:
        self._http = DeadlineHttpClient(
            f"{settings.antifraud_address}/api/validate",
            connect_timeout_s=settings.antifraud_connect_timeout_s,
            read_timeout_s=settings.antifraud_read_timeout_s,
            ca_file=settings.antifraud_ca_file,
        )

    def ask(self, email: str, promo_id: UUID) -> Verdict:
        """Ask once whether a user may activate a promo.

        Raises:
            NoVerdict: the message is a constant reason for the log.
        """
        try:
            status, body = self._http.post(orjson.dumps({"user_email": email, "promo_id": str(promo_id)}))
        except (OSError, HTTPException, ValueError) as error:
            raise NoVerdict(type(error).__name__) from error
        if status != _OK:
            raise NoVerdict(f"status {status}")
        return _verdict(body)

    def ping(self) -> None:
        """Connect to the service without sending a request. Raises OSError if that fails."""
        self._http.ping()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()


def _verdict(body: bytes) -> Verdict:
    try:
        verdict: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NoVerdict("invalid JSON") from error
    if not isinstance(verdict, dict) or not isinstance(verdict.get("ok"), bool):
        raise NoVerdict("no verdict")
    until = verdict.get("cache_until")
    return Verdict(verdict["ok"], None if until is None else _instant(until))


def _instant(text: object) -> datetime:
    if not isinstance(text, str):
        raise NoVerdict("invalid cache_until")
    try:
        instant = datetime.fromisoformat(text)
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise NoVerdict("invalid cache_until") from error
