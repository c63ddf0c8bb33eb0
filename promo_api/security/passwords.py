"""Argon2id hashes. Each takes about 20 ms of CPU and 19 MiB, so concurrency is limited.

A password is hashed in Unicode normal form NFC: keyboards differ in how they compose letters.
"""

import secrets
from collections.abc import Callable
from threading import Semaphore
from time import perf_counter
from typing import TypeVar
from unicodedata import normalize

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from promo_api.config.settings import Settings
from promo_api.telemetry import metrics

_T = TypeVar("_T")
# No password is as long in any normal form. Longer ones are cut, because the time to normalize them is not linear.
_MAX_CHARS = 1000


# For generated passwords: without characters that look alike, and without symbols that a shell changes.
_ALPHABETS = ("abcdefghijkmnopqrstuvwxyz", "ABCDEFGHJKLMNPQRSTUVWXYZ", "23456789", "@%+=")
_GENERATED_CHARS = 20


def generate_password() -> str:
    """Return a random password that api.yml allows, of more than 100 bits."""
    characters = [secrets.choice(alphabet) for alphabet in _ALPHABETS]
    while len(characters) < _GENERATED_CHARS:
        characters.append(secrets.choice("".join(_ALPHABETS)))
    secrets.SystemRandom().shuffle(characters)
    return "".join(characters)


class Passwords:
    """Slow: never call it while holding a database connection."""

    def __init__(self, settings: Settings) -> None:
        self._hasher = PasswordHasher(
            time_cost=settings.argon2_iterations,
            memory_cost=settings.argon2_memory_kib,
            parallelism=settings.argon2_parallelism,
        )
        self._concurrency = Semaphore(settings.argon2_concurrency)
        self._dummy_hash = self._hasher.hash(secrets.token_urlsafe())

    def hash(self, password: str) -> str:
        """Return a salted hash in PHC format."""
        return self._compute(self._hasher.hash, _normalized(password))

    def verify(self, password_hash: str | None, password: str) -> bool:
        """Return whether the hash matches. None (no account) takes the same time, and is False."""
        try:
            is_correct = self._compute(self._hasher.verify, password_hash or self._dummy_hash, _normalized(password))
        except (VerificationError, InvalidHashError):
            return False
        return is_correct and password_hash is not None

    def rehash_if_needed(self, password_hash: str, password: str) -> str:
        """Return the hash, or a new one if the configured cost has changed."""
        return self.hash(password) if self._hasher.check_needs_rehash(password_hash) else password_hash

    def _compute(self, function: Callable[..., _T], *arguments: str) -> _T:
        queued_s = perf_counter()
        metrics.hash_queued()
        with self._concurrency, metrics.hash_running(queued_s):
            return function(*arguments)


def _normalized(password: str) -> str:
    return normalize("NFC", password[:_MAX_CHARS])
