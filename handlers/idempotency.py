"""Idempotency-Key: a repeated request has no effect and gets the stored response.

The primary key of the table blocks a concurrent request with the same key until the first commits. The second is then
rolled back.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import wraps
from hashlib import sha256
from json import dumps
from typing import Any, Protocol
from uuid import UUID

from handlers import Body, Headers
from persistence.idempotency import IdempotencyKey, StoredResponse, find_response, insert_responses
from promo_api.contract.streams import StreamedBody
from promo_api.errors import (
    ActivationDenied,
    ConcurrentRequest,
    IdempotencyKeyReused,
    RedemptionRefused,
    TooManyWebhooks,
)
from promo_api.runtime import Runtime
from promo_api.security.rate_limits import IDEMPOTENCY_KEYS

Response = tuple[Body, int]


class Account(Protocol):
    """A company or user."""

    @property
    def id(self) -> UUID:
        """The id of the account."""


def idempotent(handler: Callable[..., Response]) -> Callable[..., Response | tuple[Body, int, Headers]]:
    """Add the header Idempotency-Key to an operation; `key` is None without it.

    The handler uses `connect`, and on its connection `store_responses`.
    """
    operation = f"{handler.__module__.removeprefix('handlers.')}.{handler.__name__}"

    @wraps(handler)
    def respond(
        runtime: Runtime, account: Account, *, idempotency_key: str | None = None, **request: Any
    ) -> Response | tuple[Body, int, Headers]:
        if idempotency_key is None:
            return handler(runtime, account, key=None, **request)
        now = runtime.clock()
        expires_at = now + timedelta(hours=runtime.settings.idempotency_lifetime_h)
        key = IdempotencyKey(account.id, operation, idempotency_key, _fingerprint(request), expires_at)
        stored = _find_response(runtime, key, now)
        if stored is None:
            runtime.rate_limits.count_for(IDEMPOTENCY_KEYS, account.id)
            try:
                return handler(runtime, account, key=key, **request)
            except ConcurrentRequest:
                return respond(runtime, account, idempotency_key=idempotency_key, **request)
            except (ActivationDenied, RedemptionRefused, TooManyWebhooks):
                # A concurrent request with this key may have taken the last use, redeemed the code, or created the
                # last webhook.
                stored = _find_response(runtime, key, now)
                if stored is None:
                    raise
        return _replay(stored, key.fingerprint)

    return respond


class Upload:
    """The chunks of a body, whose digest is known after the last. Also a JSON array of codes, as a file of lines."""

    def __init__(self, body: StreamedBody | list[str], request: dict[str, Any]) -> None:
        if isinstance(body, StreamedBody):
            self.media_type, self._chunks = body.media_type, iter(body)
        else:
            self.media_type, self._chunks = "application/json", (dumps(each).encode() + b"\n" for each in body)
        self._digest = sha256(_fingerprint({**request, "media_type": self.media_type}))

    def __iter__(self) -> Iterator[bytes]:
        """Yield the chunks."""
        for chunk in self._chunks:
            self._digest.update(chunk)
            yield chunk

    @property
    def fingerprint(self) -> bytes:
        """The digest of the request, when all chunks have been read."""
        return self._digest.digest()

    def sign(self, key: IdempotencyKey | None) -> IdempotencyKey | None:
        """Return the key with the fingerprint."""
        return None if key is None else replace(key, fingerprint=self.fingerprint)


def idempotent_upload(handler: Callable[..., Response]) -> Callable[..., Response | tuple[Body, int, Headers]]:
    """Like `idempotent`, for a streamed body. A repeated request is read to its end, and compared by its digest."""
    operation = f"{handler.__module__.removeprefix('handlers.')}.{handler.__name__}"

    @wraps(handler)
    def respond(
        runtime: Runtime, account: Account, *, body: Any, idempotency_key: str | None = None, **request: Any
    ) -> Response | tuple[Body, int, Headers]:
        upload = Upload(body, request)
        if idempotency_key is None:
            return handler(runtime, account, body=upload, key=None, **request)
        now = runtime.clock()
        expires_at = now + timedelta(hours=runtime.settings.idempotency_lifetime_h)
        key = IdempotencyKey(account.id, operation, idempotency_key, b"", expires_at)
        stored = _find_response(runtime, key, now)
        if stored is None:
            runtime.rate_limits.count_for(IDEMPOTENCY_KEYS, account.id)
            try:
                return handler(runtime, account, body=upload, key=key, **request)
            except ConcurrentRequest:
                stored = _find_response(runtime, key, now)
                if stored is None:
                    raise
        else:
            for _ in upload:
                pass
        return _replay(stored, upload.fingerprint)

    return respond


def _replay(stored: StoredResponse, fingerprint: bytes) -> tuple[Body, int, Headers]:
    if stored.fingerprint != fingerprint:
        raise IdempotencyKeyReused(
            "This Idempotency-Key was used for another request. Use a new key for each new request."
        )
    return stored.body, stored.status, {"Idempotent-Replayed": "true"}


def connect(runtime: Runtime, *keys: IdempotencyKey | None) -> AbstractContextManager[Any]:
    """Open a transaction if there is a key, because the response is stored with the effect; otherwise autocommit."""
    return runtime.database.transaction() if any(keys) else runtime.database.autocommit()


def store_responses(connection: Any, responses: Sequence[tuple[IdempotencyKey | None, Response]]) -> None:
    """Store the responses that have a key."""
    rows = [(key, status, body) for key, (body, status) in responses if key is not None]
    if rows:
        insert_responses(connection, rows)


def _find_response(runtime: Runtime, key: IdempotencyKey, now: datetime) -> StoredResponse | None:
    with runtime.database.autocommit() as connection:
        return find_response(connection, key, now)


def _fingerprint(request: dict[str, Any]) -> bytes:
    """Return a digest of the request."""
    return sha256(dumps(request, sort_keys=True, default=str).encode()).digest()
