"""Idempotency-Key: a repeated request has no effect and gets the stored response.

The primary key of the table blocks a concurrent request with the same key until the first commits. The second is then
rolled back.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import wraps
from hashlib import sha256
from json import dumps
from typing import Any, Protocol
from uuid import UUID

from handlers import Body, Headers
from persistence.idempotency import IdempotencyKey, StoredResponse, find_response, insert_responses
from promo_api.errors import ActivationDenied, ConcurrentRequest, IdempotencyKeyReused
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
            except ActivationDenied:
                # A concurrent request with this key may have taken the last use.
                stored = _find_response(runtime, key, now)
                if stored is None:
                    raise
        if stored.fingerprint != key.fingerprint:
            raise IdempotencyKeyReused(
                "This Idempotency-Key was used for another request. Use a new key for each new request."
            )
        return stored.body, stored.status, {"Idempotent-Replayed": "true"}

    return respond


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
