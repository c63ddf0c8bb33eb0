"""Secrets of webhooks: `whsec_` and 256 random bits in base64, as in Standard Webhooks 1.0.

The service signs with them, so the database has them encrypted instead of a digest. The keys of the encryption are
derived from the secret keys, which sign tokens.
"""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Sequence
from hmac import digest
from secrets import token_bytes

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

_HASH = "sha256"
_PURPOSE = b"webhook secrets 1"
_MARK = "whsec_"
_BYTES = 32


class WebhookSecrets:
    """Generates, encrypts and decrypts secrets. The first key encrypts, all decrypt."""

    def __init__(self, secret_keys: Sequence[str]) -> None:
        fernets = [Fernet(urlsafe_b64encode(digest(key.encode(), _PURPOSE, _HASH))) for key in secret_keys]
        self._first, self._all = fernets[0], MultiFernet(fernets)

    @staticmethod
    def generate() -> str:
        """Return a random secret."""
        return _MARK + b64encode(token_bytes(_BYTES)).decode()

    def encrypt(self, secret: str) -> str:
        """Return the encrypted secret, for the database."""
        return self._first.encrypt(secret.encode()).decode()

    def decrypt(self, stored: str) -> str | None:
        """Return the secret; None: no key decrypts it."""
        return _decrypt(self._all, stored)

    def reencrypt(self, stored: str) -> str | None:
        """Return the secret encrypted with the first key; None: it is already, or no key decrypts it."""
        if _decrypt(self._first, stored) is not None:
            return None
        secret = self.decrypt(stored)
        return None if secret is None else self.encrypt(secret)


def _decrypt(fernet: Fernet | MultiFernet, stored: str) -> str | None:
    try:
        return fernet.decrypt(stored.encode()).decode()
    except InvalidToken:
        return None
