"""Signatures of deliveries, by the Standard Webhooks specification 1.0."""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterable
from hashlib import sha256

_PREFIX = "whsec_"


def sign(secrets: Iterable[str], id_: str, timestamp_s: int, body: bytes) -> str:
    """Return the value of the header webhook-signature, with a signature by each secret."""
    content = f"{id_}.{timestamp_s}.".encode() + body
    return " ".join(f"v1,{_sign(secret, content)}" for secret in secrets)


def _sign(secret: str, content: bytes) -> str:
    key = b64decode(secret.removeprefix(_PREFIX))
    return b64encode(hmac.digest(key, content, sha256)).decode()
