"""Tokens: JWTs that say which account of which kind asks, and for which version of its tokens it was issued.

A token is checked in two steps. Here, on the event loop, its signature and claims, which takes no input or output.
Then, in the handler's thread, its version against the account's, since a sign-in ends every earlier token.

RFC 8725 wants pinned what a token may be. Its header is the one that we write, and no other: so the algorithm is ours
to choose, and no member of it (`kid`, `jku`, `crit`) leads anywhere. There is no `iss`, since who knows the key is the
issuer, and no type of our own in `typ`, since the key signs nothing else; `aud` tells the two kinds of account apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from time import time
from typing import Any, Literal
from uuid import UUID

import jwt
from jwt.types import Options
from jwt.utils import base64url_encode

from promo_api.specification import MAX_TOKEN_CHARS

Kind = Literal["company", "user"]

_ALGORITHM = "HS256"
_HEADER = {"alg": _ALGORITHM, "typ": "JWT"}
_DECODED_MAX = 4096
# When a token was issued is for people to read: the clock of the machine that issued it may be ahead of ours.
_CHECKS: Options = {"require": ["sub", "aud", "ver", "iat", "exp"], "strict_aud": True, "verify_iat": False}


@dataclass(frozen=True)
class Claims:
    """What a token says: the account, its kind, and the version of its tokens."""

    account_id: UUID
    kind: Kind
    version: int


class Tokens:
    """Issues tokens and reads them.

    Args:
        secret_keys: the first one signs, and tokens of all of them count: a key is replaced while old tokens live on.
        lifetime_h: how long a token is good for.
    """

    def __init__(self, secret_keys: Sequence[str], lifetime_h: int) -> None:
        self._keys = secret_keys
        self._lifetime = timedelta(hours=lifetime_h)
        # A token is sent with each request, and to decode it takes as long as all other checks of the request. What it
        # says never changes, but for whether it has expired; what is no good token is an exception, and not kept.
        self._decoded = lru_cache(_DECODED_MAX)(self._decode)

    def issue(self, claims: Claims) -> str:
        """Return a token, good from now on for the lifetime of tokens."""
        now = datetime.now(UTC)
        payload = {
            "sub": str(claims.account_id),
            "aud": claims.kind,
            "ver": claims.version,
            "iat": now,
            "exp": now + self._lifetime,
        }
        return jwt.encode(payload, self._keys[0], _ALGORITHM)

    def read(self, token: str, kind: Kind) -> Claims | None:
        """Return what the token says; None if it is not one of ours, not of this kind, or has expired."""
        if len(token) > MAX_TOKEN_CHARS:
            return None
        try:
            claims, expires_at_s = self._decoded(token, kind)
        except (jwt.InvalidTokenError, ValueError):
            return None
        return claims if expires_at_s > time() else None

    def _decode(self, token: str, kind: Kind) -> tuple[Claims, int]:
        """Return what a token says, and when it expires, in seconds since 1970."""
        decoded = self._verified(token, kind)
        # The last letter of a signature has bits that nobody reads, and padding is read too: one text for a token.
        if decoded["header"] != _HEADER or not token.endswith("." + base64url_encode(decoded["signature"]).decode()):
            raise ValueError("it is not as it was written")
        payload = decoded["payload"]
        version, expires_at_s = payload["ver"], payload["exp"]
        if type(version) is not int or type(expires_at_s) is not int:
            raise ValueError("the version or the end is no number")
        return Claims(UUID(payload["sub"]), kind, version), expires_at_s

    def _verified(self, token: str, kind: Kind) -> dict[str, Any]:
        """Return the parts of a token that is signed. Which key it was is not said: nearly always the first one."""
        *others, last = self._keys
        for key in others:
            try:
                return jwt.decode_complete(token, key, algorithms=[_ALGORITHM], audience=kind, options=_CHECKS)
            except jwt.InvalidSignatureError:
                continue
        return jwt.decode_complete(token, last, algorithms=[_ALGORITHM], audience=kind, options=_CHECKS)
