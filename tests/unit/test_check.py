"""`check` compares the cost of password hashes with OWASP's minimum."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from promo_api.check import Level, _passwords, _Warning
from promo_api.runtime import Runtime
from tests.unit.required_settings import read


def _runtime(memory_kib: int, iterations: int) -> Runtime:
    settings = read(ARGON2_MEMORY_KIB=str(memory_kib), ARGON2_ITERATIONS=str(iterations))
    return cast("Runtime", SimpleNamespace(settings=settings))


@pytest.mark.parametrize(
    ("memory_kib", "iterations"), [(47104, 1), (19456, 2), (12288, 3), (9216, 4), (7168, 5), (65536, 4), (7168, 9)]
)
def test_sufficient_cost(memory_kib: int, iterations: int) -> None:
    """Each of OWASP's five configurations is sufficient, and so is anything above one of them."""
    assert _passwords(_runtime(memory_kib, iterations)).endswith("is at least what OWASP recommends.")


@pytest.mark.parametrize(
    ("memory_kib", "iterations"), [(47103, 1), (19455, 2), (12287, 3), (9215, 4), (7167, 5), (7167, 100), (8, 1)]
)
def test_low_cost(memory_kib: int, iterations: int) -> None:
    """A lower cost is a warning that names both settings, their values and what is recommended."""
    with pytest.raises(_Warning) as caught:
        _passwords(_runtime(memory_kib, iterations))
    assert str(caught.value) == (
        f"ARGON2_MEMORY_KIB={memory_kib} with ARGON2_ITERATIONS={iterations} is below OWASP's minimum, which is "
        "47104 with 1 or 19456 with 2 or 12288 with 3 or 9216 with 4 or 7168 with 5."
    )
    assert caught.value.level is Level.WARN


def test_default_cost() -> None:
    """The default is sufficient."""
    runtime: Any = SimpleNamespace(settings=read())
    assert _passwords(runtime).startswith("ARGON2_MEMORY_KIB=19456 with ARGON2_ITERATIONS=2 is at least")
