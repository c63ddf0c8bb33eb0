"""JWTs with the account, its kind and the version of its tokens.

The handler compares the version with the account. As RFC 8725 recommends, only the service's own header is accepted:
a client chooses neither algorithm nor key (`kid`, `jku`). The key signs nothing else (cursors have keys derived from
it), so `iss` is not needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from time import time
from typing import Any, Literal, Protocol, TypeVar
from uuid import UUID

import jwt
from jwt.types import Options
from jwt.utils import base64url_encode

from promo_api.errors import Unauthenticated
from promo_api.specification import MAX_TOKEN_CHARS

Kind = Literal["company", "user"]

_ALGORITHM = "HS256"
_HEADER = {"alg": _ALGORITHM, "typ": "JWT"}
_DECODED_MAX = 4096
# Not `iat`: the clock of the issuing machine may be ahead.
_CHECKS: Options = {"require": ["sub", "aud", "ver", "iat", "exp"], "strict_aud": True, "verify_iat": False}


@dataclass(frozen=True)
class Claims:
    """The contents of a token."""

    account_id: UUID
    kind: Kind
    version: int


class Account(Protocol):
    """An account that tokens belong to."""

    @property
    def token_version(self) -> int:
        """The version of the tokens that are not revoked."""


_Account = TypeVar("_Account", bound=Account)


def check_token_version(account: _Account | None, version: int) -> _Account:
    """Return the account of a token. Raise Unauthenticated if it was deleted or tokens of this version are revoked."""
    if account is None:
        raise Unauthenticated.account_deleted()
    if account.token_version != version:
        raise Unauthenticated.token_revoked()
    return account


class Tokens:
    """Issues and verifies tokens. The first key signs, all verify."""

    def __init__(self, secret_keys: Sequence[str], lifetime_h: int) -> None:
        self._keys = secret_keys
        self._lifetime = timedelta(hours=lifetime_h)
        # Decoding takes half the time of all checks. Invalid tokens raise and are not cached.
        self._decode_cached = lru_cache(_DECODED_MAX)(self._decode)

    def issue(self, claims: Claims) -> str:
        """Return a token that is valid from now."""
        now = datetime.now(UTC)
        payload = {
            "sub": str(claims.account_id),
            "aud": claims.kind,
            "ver": claims.version,
            "iat": now,
            "exp": now + self._lifetime,
        }
        return jwt.encode(payload, self._keys[0], _ALGORITHM)

    def read(self, token: str, kind: Kind) -> Claims:
        """Return the claims. Raise Unauthenticated if the token is invalid, expired or of the other kind."""
        if len(token) > MAX_TOKEN_CHARS:
            raise _invalid()
        try:
            claims, expires_at_s = self._decode_cached(token, kind)
        except jwt.ExpiredSignatureError:
            raise _expired() from None
        except jwt.InvalidAudienceError:
            raise _wrong_kind(kind) from None
        except (jwt.InvalidTokenError, ValueError):
            raise _invalid() from None
        if expires_at_s <= time():
            raise _expired()
        return claims

    def _decode(self, token: str, kind: Kind) -> tuple[Claims, int]:
        """Return the claims and the expiry (s since 1970), which the caller checks."""
        decoded = self._verify(token, kind)
        # base64 ignores bits of the last character, PyJWT ignores padding: accept only one spelling.
        if decoded["header"] != _HEADER or not token.endswith("." + base64url_encode(decoded["signature"]).decode()):
            raise ValueError("the header or the encoding is not canonical")
        payload = decoded["payload"]
        version, expires_at_s = payload["ver"], payload["exp"]
        if type(version) is not int or type(expires_at_s) is not int:
            raise ValueError("the version or the expiry is not an integer")
        return Claims(UUID(payload["sub"]), kind, version), expires_at_s

    def _verify(self, token: str, kind: Kind) -> dict[str, Any]:
        *others, last = self._keys
        for key in others:
            try:
                return jwt.decode_complete(token, key, algorithms=[_ALGORITHM], audience=kind, options=_CHECKS)
            except jwt.InvalidSignatureError:
                continue
        return jwt.decode_complete(token, last, algorithms=[_ALGORITHM], audience=kind, options=_CHECKS)


def _invalid() -> Unauthenticated:
    return Unauthenticated("This token is not valid. Sign in again.", code="token_invalid")


def _expired() -> Unauthenticated:
    return Unauthenticated("This token has expired. Sign in again.", code="token_expired")


def _wrong_kind(kind: Kind) -> Unauthenticated:
    return Unauthenticated(f"This operation needs the token of a {kind}.", code="token_wrong_kind")
