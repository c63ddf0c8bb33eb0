"""Requests that may come again: one with the same Idempotency-Key is answered as before, and not carried out again.

The answer is kept in the transaction that does what it tells of, so that there is never one without the other. Whether
two requests that run at once are the same is decided by the primary key of the table: the one that comes second waits
for the first, has its own work undone and gives the answer of the first.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import wraps
from hashlib import sha256
from json import dumps
from typing import Any, Protocol
from uuid import UUID

from handlers import Body, Headers
from persistence.kept_answers import RepeatKey, find_answer, insert_answers
from promo_api.errors import KeyReused, KeyTaken
from promo_api.limits import IDEMPOTENCY_KEYS
from promo_api.runtime import Runtime

Answer = tuple[Body, int]


class Account(Protocol):
    """Who asks: a company or a user."""

    @property
    def id(self) -> UUID:
        """The id of the account."""


def repeatable(handler: Callable[..., Answer]) -> Callable[..., Answer | tuple[Body, int, Headers]]:
    """Return an operation that takes an Idempotency-Key, made of a handler that gets it as the argument `key`.

    The handler keeps its answer by `keep_answers` within `doing`. With `key` None the request has no key, and nothing
    is kept.
    """
    operation = f"{handler.__module__.removeprefix('handlers.')}.{handler.__name__}"

    @wraps(handler)
    def answer(
        runtime: Runtime, account: Account, *, idempotency_key: str | None = None, **request: Any
    ) -> Answer | tuple[Body, int, Headers]:
        if idempotency_key is None:
            return handler(runtime, account, key=None, **request)
        now = runtime.clock()
        expires_at = now + timedelta(hours=runtime.settings.idempotency_lifetime_h)
        key = RepeatKey(account.id, operation, idempotency_key, _fingerprint(request), expires_at)
        with runtime.database.autocommit() as connection:
            kept = find_answer(connection, key, now)
        if kept is None:
            runtime.limits.count_for(IDEMPOTENCY_KEYS, account.id)
            try:
                return handler(runtime, account, key=key, **request)
            except KeyTaken:  # its answer is there now
                return answer(runtime, account, idempotency_key=idempotency_key, **request)
        if kept.fingerprint != key.fingerprint:
            raise KeyReused("This Idempotency-Key belongs to another request. Give each new request a key of its own.")
        return kept.body, kept.status, {"Idempotent-Replayed": "true"}

    return answer


def doing(runtime: Runtime, *keys: RepeatKey | None) -> AbstractContextManager[Any]:
    """Lend a connection for the one statement of an operation; with a key in a transaction, for its answer too."""
    return runtime.database.transaction() if any(keys) else runtime.database.autocommit()


def keep_answers(connection: Any, answers: Sequence[tuple[RepeatKey | None, Answer]]) -> None:
    """Keep answers under their keys, in the transaction that does what they tell of; those without a key are not."""
    kept = [(key, status, body) for key, (body, status) in answers if key is not None]
    if kept:
        insert_answers(connection, kept)


def _fingerprint(request: dict[str, Any]) -> bytes:
    """Return a digest of what was asked, the same for requests that mean the same."""
    return sha256(dumps(request, sort_keys=True, default=str).encode()).digest()
