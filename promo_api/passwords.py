"""Password hashes: argon2id, a few at once.

A hash takes some 20 ms of a core and 19 MiB, on purpose. As many at once as there are threads would starve all other
requests of the process. Requests that need a hash wait in a separate thread pool (see admission.py).
"""

import secrets
from collections.abc import Callable
from threading import Semaphore
from time import perf_counter
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from promo_api import metrics
from promo_api.settings import Settings

_T = TypeVar("_T")


class Passwords:
    """Makes password hashes and checks passwords against them. Slow: never within a transaction."""

    def __init__(self, settings: Settings) -> None:
        self._hasher = PasswordHasher(
            time_cost=settings.argon2_iterations,
            memory_cost=settings.argon2_memory_kib,
            parallelism=settings.argon2_parallelism,
        )
        self._at_once = Semaphore(settings.argon2_concurrency)
        self._nobodys_hash = self._hasher.hash(secrets.token_urlsafe())

    def hash(self, password: str) -> str:
        """Return a hash of the password with a salt of its own, in the PHC form."""
        return self._compute(self._hasher.hash, password)

    def verify(self, password_hash: str | None, password: str) -> bool:
        """Tell whether this is the password of the hash.

        None is the hash of an account that does not exist: the answer is False, after as long a time as any other.
        """
        try:
            right = self._compute(self._hasher.verify, password_hash or self._nobodys_hash, password)
        except (VerificationError, InvalidHashError):
            return False
        return right and password_hash is not None

    def renewed(self, password_hash: str, password: str) -> str:
        """Return the hash, or one of the cost that is set today if it is of another."""
        return self.hash(password) if self._hasher.check_needs_rehash(password_hash) else password_hash

    def _compute(self, function: Callable[..., _T], *arguments: str) -> _T:
        """Run a function of the hasher when fewer than ARGON2_CONCURRENCY run."""
        asked_s = perf_counter()
        metrics.hash_asked()
        with self._at_once, metrics.hash_computed(asked_s):
            return function(*arguments)
