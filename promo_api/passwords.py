"""Password hashes: argon2id, a few at once.

A hash takes some 20 ms of a core and 19 MiB, by intention. So many at once as there are threads would starve every
other request of the process, so they take turns, in the order in which they came: a few threads compute nothing else.
Only so many may wait. Whoever comes then is refused at once, rather than waiting for longer than anybody would.
"""

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Semaphore
from time import perf_counter
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from promo_api import metrics
from promo_api.errors import DependencyDown
from promo_api.settings import Settings

_T = TypeVar("_T")


class Passwords:
    """Makes password hashes and checks passwords against them. Slow: never within a transaction.

    All of it raises DependencyDown at once when as many hashes wait as ARGON2_QUEUE says.
    """

    def __init__(self, settings: Settings) -> None:
        self._hasher = PasswordHasher(
            time_cost=settings.argon2_iterations,
            memory_cost=settings.argon2_memory_kib,
            parallelism=settings.argon2_parallelism,
        )
        # Its threads start when they are needed, for they would not outlive the fork into a worker.
        self._threads = ThreadPoolExecutor(settings.argon2_concurrency, thread_name_prefix="password")
        self._places = Semaphore(settings.argon2_concurrency + settings.argon2_queue)
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
        """Run a function of the hasher on one of the threads, as soon as one of them is free."""
        if not self._places.acquire(blocking=False):
            metrics.hash_refused()
            message = "Too many people sign in or sign up right now. Try again in a moment."
            raise DependencyDown(message, reason="the queue of password hashes is full")
        asked_s = perf_counter()

        def computed() -> _T:
            with metrics.hash_computed(asked_s):
                return function(*arguments)

        try:
            metrics.hash_asked()
            return self._threads.submit(computed).result()
        finally:
            self._places.release()
