"""API keys: `pk_`, 160 random bits in base62, and a checksum of them, with which a typo is found without the database.

A key is only valid exactly as issued. The database has its SHA-256 digest: 160 random bits need no slow hash.
"""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from secrets import randbits
from string import ascii_letters, digits
from threading import Lock
from typing import NamedTuple
from uuid import UUID
from zlib import crc32

from cachetools import LRUCache

from promo_api.errors import Unauthenticated

_BASE62 = digits + ascii_letters
_MARK = "pk_"
_RANDOM_BITS, _RANDOM_CHARS, _CHECKSUM_CHARS = 160, 27, 6
_CHARS = len(_MARK) + _RANDOM_CHARS + _CHECKSUM_CHARS
# A reader of the list of keys cannot guess the other 130 bits.
_PREFIX_CHARS = 8
_KEYS_MAX = 10_000


@dataclass(frozen=True)
class NewKey:
    """A new key."""

    text: str
    digest: bytes
    prefix: str


@dataclass(frozen=True)
class KeyClaims:
    """What a worker reads from a key without the database. The ids are known if the key was valid before."""

    digest: bytes
    account_id: UUID | None
    key_id: UUID | None = None


class KeyUse(NamedTuple):
    """The last use of a key."""

    company_id: UUID
    key_id: UUID
    minute: datetime


class ApiKeys:
    """Generates and reads keys, and remembers their ids and uses in the memory of the worker."""

    def __init__(self) -> None:
        self._ids: LRUCache[bytes, tuple[UUID, UUID]] = LRUCache(_KEYS_MAX)
        self._lock = Lock()
        self._uses: dict[tuple[UUID, UUID], datetime] = {}

    def generate(self) -> NewKey:
        """Return a random key."""
        random = _MARK + _encode(randbits(_RANDOM_BITS), _RANDOM_CHARS)
        text = random + _checksum(random)
        return NewKey(text, _digest(text), text[:_PREFIX_CHARS])

    def read(self, text: str) -> KeyClaims:
        """Return the claims of a key. Raise Unauthenticated if it has another form or a wrong checksum."""
        if len(text) != _CHARS or not text.isascii() or text[-_CHECKSUM_CHARS:] != _checksum(text[:-_CHECKSUM_CHARS]):
            raise Unauthenticated.key_invalid()
        digest = _digest(text)
        with self._lock:
            company_id, key_id = self._ids.get(digest, (None, None))
        return KeyClaims(digest, company_id, key_id)

    def remember(self, digest: bytes, company_id: UUID, key_id: UUID) -> None:
        """Remember the ids of a valid key, which never change. Each request still asks the database for the key."""
        with self._lock:
            self._ids[digest] = company_id, key_id

    def forget(self, digest: bytes) -> None:
        """Forget the ids of a key that is not valid any more."""
        with self._lock:
            self._ids.pop(digest, None)

    def record_use(self, company_id: UUID, key_id: UUID, *, last_used_at: datetime | None, now: datetime) -> None:
        """Record the minute of a use, for `take_use`, unless the database has it."""
        minute = now.replace(second=0, microsecond=0)
        if last_used_at is None or last_used_at < minute:
            self._uses[company_id, key_id] = minute

    def take_use(self) -> KeyUse | None:
        """Return a recorded use and forget it; None: there is none."""
        try:
            (company_id, key_id), minute = self._uses.popitem()
        except KeyError:
            return None
        return KeyUse(company_id, key_id, minute)

    def return_use(self, use: KeyUse) -> None:
        """Record a use that could not be stored, unless a later one is recorded."""
        self._uses.setdefault((use.company_id, use.key_id), use.minute)


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


def _checksum(text: str) -> str:
    return _encode(crc32(text.encode()), _CHECKSUM_CHARS)


def _encode(number: int, length: int) -> str:
    encoded = ""
    for _ in range(length):
        number, digit = divmod(number, 62)
        encoded = _BASE62[digit] + encoded
    return encoded
