"""Tokens: JWTs with the account, its kind and the version of its tokens.

A token is verified in two steps: its signature and claims here, on the event loop, and its version against the account
in the thread of the handler.

As RFC 8725 recommends, only the header that the service writes is accepted, so a client can choose neither the
algorithm nor a key (`kid`, `jku`). `iss` and a special `typ` are not needed, because the key signs nothing else.
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
# `iat` is not verified, because the clock of the machine that issued the token may be ahead.
_CHECKS: Options = {"require": ["sub", "aud", "ver", "iat", "exp"], "strict_aud": True, "verify_iat": False}


@dataclass(frozen=True)
class Claims:
    """The contents of a token."""

    account_id: UUID
    kind: Kind
    version: int


class Tokens:
    """Issues and verifies tokens.

    Args:
        secret_keys: the first key signs, all verify, so that keys can be rotated.
        lifetime_h: the lifetime of a token.
    """

    def __init__(self, secret_keys: Sequence[str], lifetime_h: int) -> None:
        self._keys = secret_keys
        self._lifetime = timedelta(hours=lifetime_h)
        # Decoding would take half the time of all checks. Invalid tokens raise, so they are not cached.
        self._decode_cached = lru_cache(_DECODED_MAX)(self._decode)

    def issue(self, claims: Claims) -> str:
        """Return a token that is valid from now on."""
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
        """Return the claims of a token; None if it is invalid, of the other kind, or expired."""
        if len(token) > MAX_TOKEN_CHARS:
            return None
        try:
            claims, expires_at_s = self._decode_cached(token, kind)
        except (jwt.InvalidTokenError, ValueError):
            return None
        return claims if expires_at_s > time() else None

    def _decode(self, token: str, kind: Kind) -> tuple[Claims, int]:
        """Return the claims of a token, and its expiry in seconds since 1970, which the caller checks."""
        decoded = self._verify(token, kind)
        # base64 ignores bits of the last character, and PyJWT ignores padding. Accept one spelling of a token only.
        if decoded["header"] != _HEADER or not token.endswith("." + base64url_encode(decoded["signature"]).decode()):
            raise ValueError("the header or the encoding is not canonical")
        payload = decoded["payload"]
        version, expires_at_s = payload["ver"], payload["exp"]
        if type(version) is not int or type(expires_at_s) is not int:
            raise ValueError("the version or the expiry is not an integer")
        return Claims(UUID(payload["sub"]), kind, version), expires_at_s

    def _verify(self, token: str, kind: Kind) -> dict[str, Any]:
        """Return the decoded token if one of the keys has signed it."""
        *others, last = self._keys
        for key in others:
            try:
                return jwt.decode_complete(token, key, algorithms=[_ALGORITHM], audience=kind, options=_CHECKS)
            except jwt.InvalidSignatureError:
                continue
        return jwt.decode_complete(token, last, algorithms=[_ALGORITHM], audience=kind, options=_CHECKS)
