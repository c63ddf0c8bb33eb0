"""Tokens that reset a password: the id of the account and 256 secret bits, in base64url.

The secret is an HMAC of a random nonce. So the mail can be sent later, and again, from what the
database stores: the nonce and a digest. Neither contains the token. The keys are derived from the secret keys, which
sign tokens.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest, digest
from secrets import token_bytes
from uuid import UUID

_HASH = "sha256"
_PURPOSE = b"password resets 1"
_ID_BYTES, _SECRET_BYTES = 16, 32


@dataclass(frozen=True)
class ResetToken:
    """What a token says: the account, and the digest of the secret, which the database decides about."""

    account_id: UUID
    digest: bytes


class ResetTokens:
    """Issues and reads tokens. The first key issues; after a rotation, mails that are still due use the earlier key."""

    def __init__(self, secret_keys: Sequence[str]) -> None:
        self._keys = [digest(key.encode(), _PURPOSE, _HASH) for key in secret_keys]

    def create(self) -> tuple[bytes, bytes]:
        """Return a new nonce and the digest of its secret."""
        nonce = token_bytes(_SECRET_BYTES)
        return nonce, sha256(_secret(self._keys[0], nonce)).digest()

    def issue(self, account_id: UUID, nonce: bytes, expected: bytes) -> str | None:
        """Return the token of a nonce and an account; None: no key gives the digest `expected` any more."""
        for key in self._keys:
            secret = _secret(key, nonce)
            if compare_digest(sha256(secret).digest(), expected):
                return urlsafe_b64encode(account_id.bytes + secret).decode()
        return None

    @staticmethod
    def read(token: str) -> ResetToken | None:
        """Return the account and the digest; None: this is no token."""
        try:
            decoded = urlsafe_b64decode(token)
        except (Error, ValueError):
            return None
        if len(decoded) != _ID_BYTES + _SECRET_BYTES or urlsafe_b64encode(decoded).decode() != token:
            return None
        return ResetToken(UUID(bytes=decoded[:_ID_BYTES]), sha256(decoded[_ID_BYTES:]).digest())


def _secret(key: bytes, nonce: bytes) -> bytes:
    return digest(key, nonce, _HASH)
