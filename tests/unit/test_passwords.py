"""Passwords: argon2id, with the cost and the concurrency of the settings."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from shlex import quote
from threading import Event, Lock, Semaphore
from typing import Any, cast

import pytest
from argon2 import PasswordHasher, Type, extract_parameters
from connexion.spec import Specification

from promo_api.app import SPECIFICATION
from promo_api.config.settings import Settings
from promo_api.contract.schemas import compile_schema
from promo_api.dev.processes import wait_until
from promo_api.security.passwords import Passwords, generate_password
from tests.metric_delta import MetricDelta

PASSWORD = "Passw0rd!"


def _passwords(**changes: int) -> Passwords:
    cost = {"argon2_memory_kib": 8, "argon2_iterations": 1, "argon2_parallelism": 1} | changes
    return Passwords(Settings(antifraud_address="x", secret_key="x" * 32, **cast("Any", cost)))


def test_hash_and_verify() -> None:
    """Only the password itself is accepted, not similar ones."""
    passwords = _passwords()
    stored = passwords.hash(PASSWORD)
    assert passwords.verify(stored, PASSWORD) is True
    for wrong in ("", PASSWORD.lower(), PASSWORD + " ", PASSWORD[:-1], stored):
        assert passwords.verify(stored, wrong) is False


def test_generated_password() -> None:
    """A generated password is as api.yml demands, always another one, and needs no quotes in a shell."""
    schema = compile_schema(Specification.load(SPECIFICATION)["components"]["schemas"]["Password"])
    generated = [generate_password() for _ in range(200)]
    assert [violation for password in generated for violation in schema.violations(password, "body")] == []
    assert len({*generated}) == 200
    assert {len(password) for password in generated} == {20}
    assert [quote(password) for password in generated] == generated


def test_hash_has_a_salt() -> None:
    """The same password has a different hash each time, and no hash contains it."""
    passwords = _passwords()
    assert passwords.hash(PASSWORD) != passwords.hash(PASSWORD)
    assert PASSWORD not in passwords.hash(PASSWORD)


def test_cost_settings() -> None:
    """Memory, iterations and parallelism are those of the settings, and the algorithm is argon2id."""
    stored = _passwords(argon2_memory_kib=64, argon2_iterations=3, argon2_parallelism=2).hash(PASSWORD)
    parameters = extract_parameters(stored)
    assert parameters.type is Type.ID
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (64, 3, 2)


def test_missing_account() -> None:
    """A missing account has no password, not even an empty one."""
    passwords = _passwords()
    assert passwords.verify(None, PASSWORD) is False
    assert passwords.verify(None, "") is False


def test_missing_account_takes_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a missing account a hash of the same cost is verified, so that the time reveals nothing."""
    passwords, checked = _passwords(argon2_iterations=2), list[str]()
    verify = PasswordHasher.verify

    def watched(self: PasswordHasher, password_hash: str, password: str) -> bool:
        checked.append(password_hash)
        return bool(verify(self, password_hash, password))

    monkeypatch.setattr(PasswordHasher, "verify", watched)
    passwords.verify(None, PASSWORD)
    (dummy,) = checked
    assert extract_parameters(dummy) == extract_parameters(passwords.hash(PASSWORD))


def test_dummy_hash_does_not_open() -> None:
    """The password of the dummy hash is not accepted for a missing account."""
    passwords = _passwords()
    passwords._dummy_hash = passwords.hash(PASSWORD)
    assert passwords.verify(None, PASSWORD) is False


@pytest.mark.parametrize(
    "stored", ["garbage", "$argon2id$", "$argon2id$v=19$m=8,t=1,p=1$c2FsdA$", "$2b$12$abcdefghijklmnopqrstuv", ""]
)
def test_invalid_hash(stored: str) -> None:
    """An invalid hash accepts no password, and raises nothing."""
    assert _passwords().verify(stored, PASSWORD) is False


def test_hash_of_the_current_cost_is_not_renewed() -> None:
    """A hash of the current cost is not renewed."""
    passwords = _passwords()
    stored = passwords.hash(PASSWORD)
    assert passwords.rehash_if_needed(stored, PASSWORD) == stored


@pytest.mark.parametrize("changed", ["argon2_memory_kib", "argon2_iterations", "argon2_parallelism"])
def test_hash_of_another_cost_is_renewed(changed: str) -> None:
    """A hash of a higher or lower cost is renewed for the same password."""
    cheap, dear = (
        _passwords(argon2_memory_kib=32),
        _passwords(**{"argon2_memory_kib": 32, changed: 64 if "kib" in changed else 2}),
    )
    for before, current in ((cheap, dear), (dear, cheap)):
        renewed = current.rehash_if_needed(before.hash(PASSWORD), PASSWORD)
        assert extract_parameters(renewed) == extract_parameters(current.hash(PASSWORD))
        assert current.verify(renewed, PASSWORD) is True


class _BlockedHasher:
    """A hasher whose work ends when the test sets `go`."""

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

    def check_needs_rehash(self, _hash: str) -> bool:
        """Return that every hash is outdated."""
        return True


@pytest.fixture
def hasher() -> Iterator[_BlockedHasher]:
    """A blocked hasher that ends at teardown, so that no thread waits for ever."""
    blocked = _BlockedHasher()
    yield blocked
    blocked.go.set()


WAYS: list[Callable[[Passwords], object]] = [
    lambda passwords: passwords.hash(PASSWORD),
    lambda passwords: passwords.verify("hash", PASSWORD),
    lambda passwords: passwords.verify(None, PASSWORD),
    lambda passwords: passwords.rehash_if_needed("hash", PASSWORD),
]


@pytest.mark.parametrize("concurrency", [1, 2, 3])
def test_concurrency_limit(hasher: _BlockedHasher, concurrency: int) -> None:
    """Hashes for all purposes run in parallel up to ARGON2_CONCURRENCY; the others wait and are counted."""
    passwords, counted = _passwords(argon2_concurrency=concurrency), MetricDelta()
    passwords._hasher = cast("PasswordHasher", hasher)
    with ThreadPoolExecutor(8) as threads:
        futures = [threads.submit(way, passwords) for way in WAYS * 2]
        assert all(hasher.begun.acquire(timeout=10) for _ in range(concurrency))
        assert wait_until(lambda: counted("promo_password_hashes", state="waiting") == 8 - concurrency, 10)
        assert counted("promo_password_hashes", state="running") == concurrency
        hasher.go.set()
        assert all(future.result(timeout=10) is not None for future in futures)
    assert hasher.most == concurrency
    assert counted("promo_password_hashes", state="waiting") == 0


def test_failed_hash_frees_its_slot() -> None:
    """A failed hash frees its slot."""
    passwords = _passwords(argon2_concurrency=1)
    for _ in range(3):
        with pytest.raises(UnicodeEncodeError):
            passwords.hash("\ud800")
        assert passwords.verify("garbage", PASSWORD) is False
    assert passwords.verify(passwords.hash(PASSWORD), PASSWORD) is True
