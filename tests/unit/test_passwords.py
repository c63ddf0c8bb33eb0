"""Passwords: argon2id, with the cost and the concurrency of the settings."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock, Semaphore
from typing import Any, cast

import pytest
from argon2 import PasswordHasher, Type, extract_parameters

from promo_api.config.settings import Settings
from promo_api.dev.processes import wait_until
from promo_api.security.passwords import Passwords
from tests.metric_delta import Counting

PASSWORD = "Passw0rd!"


def _passwords(**changes: int) -> Passwords:
    cost = {"argon2_memory_kib": 8, "argon2_iterations": 1, "argon2_parallelism": 1} | changes
    return Passwords(Settings(antifraud_address="x", secret_key="x" * 32, **cast("Any", cost)))


def test_hash_and_verify() -> None:
    """A password is right, any other is not, the neighbouring ones too."""
    passwords = _passwords()
    kept = passwords.hash(PASSWORD)
    assert passwords.verify(kept, PASSWORD) is True
    for wrong in ("", PASSWORD.lower(), PASSWORD + " ", PASSWORD[:-1], kept):
        assert passwords.verify(kept, wrong) is False


def test_hash_has_a_salt() -> None:
    """The same password has another hash each time, and no hash holds it."""
    passwords = _passwords()
    assert passwords.hash(PASSWORD) != passwords.hash(PASSWORD)
    assert PASSWORD not in passwords.hash(PASSWORD)


def test_cost_is_the_one_that_is_set() -> None:
    """Memory, passes and lanes are those of the settings, and the algorithm is argon2id."""
    kept = _passwords(argon2_memory_kib=64, argon2_iterations=3, argon2_parallelism=2).hash(PASSWORD)
    parameters = extract_parameters(kept)
    assert parameters.type is Type.ID
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (64, 3, 2)


def test_nobody_has_no_password() -> None:
    """An account that does not exist has no password, not even the empty one."""
    passwords = _passwords()
    assert passwords.verify(None, PASSWORD) is False
    assert passwords.verify(None, "") is False


def test_nobody_takes_as_long_as_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """For an account that does not exist a hash of the same cost is checked, so that the time tells nothing."""
    passwords, checked = _passwords(argon2_iterations=2), list[str]()
    verify = PasswordHasher.verify

    def watched(self: PasswordHasher, password_hash: str, password: str) -> bool:
        checked.append(password_hash)
        return bool(verify(self, password_hash, password))

    monkeypatch.setattr(PasswordHasher, "verify", watched)
    passwords.verify(None, PASSWORD)
    (nobodys,) = checked
    assert extract_parameters(nobodys) == extract_parameters(passwords.hash(PASSWORD))


def test_dummy_hash_does_not_open() -> None:
    """Even the password of the hash that stands for nobody's, were it known, opens nothing."""
    passwords = _passwords()
    passwords._dummy_hash = passwords.hash(PASSWORD)
    assert passwords.verify(None, PASSWORD) is False


@pytest.mark.parametrize(
    "kept", ["garbage", "$argon2id$", "$argon2id$v=19$m=8,t=1,p=1$c2FsdA$", "$2b$12$abcdefghijklmnopqrstuv", ""]
)
def test_garbage_is_no_hash(kept: str) -> None:
    """A hash that is none opens to no password, and is no failure."""
    assert _passwords().verify(kept, PASSWORD) is False


def test_hash_of_todays_cost_is_kept() -> None:
    """A hash of the cost that is set stays as it is."""
    passwords = _passwords()
    kept = passwords.hash(PASSWORD)
    assert passwords.rehash_if_needed(kept, PASSWORD) == kept


@pytest.mark.parametrize("changed", ["argon2_memory_kib", "argon2_iterations", "argon2_parallelism"])
def test_hash_of_another_cost_is_renewed(changed: str) -> None:
    """A hash of another cost, dearer or cheaper, is made anew of the same password."""
    cheap, dear = (
        _passwords(argon2_memory_kib=32),
        _passwords(**{"argon2_memory_kib": 32, changed: 64 if "kib" in changed else 2}),
    )
    for before, today in ((cheap, dear), (dear, cheap)):
        renewed = today.rehash_if_needed(before.hash(PASSWORD), PASSWORD)
        assert extract_parameters(renewed) == extract_parameters(today.hash(PASSWORD))
        assert today.verify(renewed, PASSWORD) is True


class _HeldHasher:
    """A hasher whose work takes until a test lets it end."""

    def __init__(self) -> None:
        self.begun, self.go, self.lock = Semaphore(0), Event(), Lock()
        self.running, self.most = 0, 0

    def work(self, *_arguments: str) -> Any:
        """Hash or verify."""
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.begun.release()
        assert self.go.wait(10)
        with self.lock:
            self.running -= 1
        return True

    hash = verify = work

    def check_needs_rehash(self, _kept: str) -> bool:
        """Have every hash renewed."""
        return True


@pytest.fixture
def held() -> Iterator[_HeldHasher]:
    """A hasher that is let go at the end, so that no thread waits for ever."""
    hasher = _HeldHasher()
    yield hasher
    hasher.go.set()


WAYS: list[Callable[[Passwords], object]] = [
    lambda passwords: passwords.hash(PASSWORD),
    lambda passwords: passwords.verify("kept", PASSWORD),
    lambda passwords: passwords.verify(None, PASSWORD),
    lambda passwords: passwords.rehash_if_needed("kept", PASSWORD),
]


@pytest.mark.parametrize("concurrency", [1, 2, 3])
def test_only_so_many_at_once(held: _HeldHasher, concurrency: int) -> None:
    """Hashes run up to the concurrency of the settings, for every purpose; the others wait and are counted."""
    passwords, counted = _passwords(argon2_concurrency=concurrency), Counting()
    passwords._hasher = cast("PasswordHasher", held)
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(way, passwords) for way in WAYS * 2]
        assert all(held.begun.acquire(timeout=10) for _ in range(concurrency))
        assert wait_until(lambda: counted("promo_password_hashes", state="waiting") == 8 - concurrency, 10)
        assert counted("promo_password_hashes", state="running") == concurrency
        held.go.set()
        assert all(future.result(timeout=10) is not None for future in asked)
    assert held.most == concurrency
    assert counted("promo_password_hashes", state="waiting") == 0


def test_failed_hash_frees_its_place() -> None:
    """A hash that fails does not take a place for ever."""
    passwords = _passwords(argon2_concurrency=1)
    for _ in range(3):
        with pytest.raises(AttributeError):
            passwords.hash(cast("str", object()))
        assert passwords.verify("garbage", PASSWORD) is False
    assert passwords.verify(passwords.hash(PASSWORD), PASSWORD) is True
