"""Account enumeration: neither the response nor the duration of a failed sign-in reveals whether an account exists."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice
from statistics import median
from time import process_time
from typing import Any

import pytest
from argon2 import PasswordHasher, extract_parameters
from starlette.testclient import TestClient

from promo_api.app import create_app
from promo_api.runtime import Runtime
from tests.accounts import PASSWORD, Account, Api, company_body, new_email, user_body
from tests.statements import sent_statements

WRONG = "Wr0ngPass!"
BODIES = {"business": company_body, "user": user_body}
# 500 sign-ins with known addresses, over several accounts, and 500 with unknown ones.
_SIGN_INS, _ACCOUNTS = 500, 100
_ROUNDS = 3
# With this memory a hash takes about 0.5 ms, a quarter of a sign-in. By default it takes forty times as long.
_MEMORY_KIB = 1024
_NOISE = 0.05


@pytest.fixture
def slow_hashes(runtime: Runtime) -> Iterator[Api]:
    """The API with password hashes slow enough to measure."""
    changed = Runtime.open(replace(runtime.settings, argon2_memory_kib=_MEMORY_KIB))
    with TestClient(create_app(changed), raise_server_exceptions=False) as client:
        yield Api(client)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """The hashes computed during the test: the method and the cost of each."""
    computed: list[tuple[str, Any]] = []
    verify, compute = PasswordHasher.verify, PasswordHasher.hash

    def recorded_verify(self: PasswordHasher, password_hash: str, password: str) -> bool:
        computed.append(("verify", extract_parameters(password_hash)))
        return bool(verify(self, password_hash, password))

    def recorded_hash(self: PasswordHasher, password: str) -> str:
        password_hash = compute(self, password)
        computed.append(("hash", extract_parameters(password_hash)))
        return password_hash

    monkeypatch.setattr(PasswordHasher, "verify", recorded_verify)
    monkeypatch.setattr(PasswordHasher, "hash", recorded_hash)
    return computed


def _sign_up(api: Api, kind: str) -> Account:
    return api.sign_up_company() if kind == "business" else api.sign_up_user()


def _fail(api: Api, kind: str, email: str) -> Any:
    """Return the response to a sign-in with this address and a wrong password."""
    return api.call("POST", f"/{kind}/auth/sign-in", json={"email": email, "password": WRONG})


def _cpu_s(api: Api, kind: str, email: str) -> float:
    """Return the CPU time of a failed sign-in."""
    before = process_time()
    response = _fail(api, kind, email)
    assert response.status_code == 401
    return process_time() - before


def _difference(api: Api, kind: str, known: list[str]) -> float:
    """Return the relative difference between the median CPU times of sign-ins with known and unknown addresses."""
    times_s: tuple[list[float], list[float]] = [], []
    for email in islice(cycle(known), _SIGN_INS):
        times_s[0].append(_cpu_s(api, kind, email))
        times_s[1].append(_cpu_s(api, kind, new_email()))
    known_s, unknown_s = map(median, times_s)
    return known_s / unknown_s - 1


@pytest.mark.parametrize("kind", BODIES)
def test_same_time_for_any_address(slow_hashes: Api, kind: str) -> None:
    """Failed sign-ins with known and unknown addresses take the same CPU time, within 5 %.

    The best of three rounds counts: a missing or cheaper hash would show in each of them. The 5 % are a fifth of the
    time of a hash here.
    """
    known = [_sign_up(slow_hashes, kind).body["email"] for _ in range(_ACCOUNTS)]
    differences: list[float] = []
    while len(differences) < _ROUNDS and not any(abs(each) < _NOISE for each in differences):
        differences.append(_difference(slow_hashes, kind, known))
    assert min(map(abs, differences)) < _NOISE, differences


@pytest.mark.parametrize("kind", BODIES)
def test_same_work_for_any_address(api: Api, hashed: list[tuple[str, Any]], kind: str) -> None:
    """A failed sign-in takes the same statements and hash for an account, one of the other kind, and none."""
    (other_kind,) = BODIES.keys() - {kind}
    addresses = [_sign_up(api, kind).body["email"], _sign_up(api, other_kind).body["email"], new_email()]
    work = []
    for email in addresses:
        hashed.clear()
        with sent_statements() as sent:
            assert _fail(api, kind, email).status_code == 401
        work.append(([statement for statement, _ in sent], hashed.copy()))
    assert work[0] == work[1] == work[2]
    statements, hashes = work[0]
    assert (len(statements), [method for method, _ in hashes]) == (2, ["verify"])


@pytest.mark.parametrize("kind", BODIES)
def test_same_responses_to_repeated_failures(api: Api, kind: str) -> None:
    """Repeated failures get the same responses for a known and an unknown address."""
    known, unknown = _sign_up(api, kind).body["email"], new_email()
    responses = [[(response.status_code, response.text) for response in (_fail(api, kind, email) for _ in range(25))]
               for email in (known, unknown)]  # fmt: skip
    assert responses[0] == responses[1]


@pytest.mark.parametrize("kind", BODIES)
def test_same_work_for_a_taken_address(api: Api, hashed: list[tuple[str, Any]], kind: str) -> None:
    """A sign-up takes one hash and one statement, whether the address is available (200) or taken (409)."""
    body = BODIES[kind]() | {"password": PASSWORD}
    work = []
    for status in (200, 409):
        hashed.clear()
        with sent_statements() as sent:
            assert api.call("POST", f"/{kind}/auth/sign-up", json=body).status_code == status
        work.append(([statement for statement, _ in sent], hashed.copy()))
    assert work[0] == work[1]
    assert (len(work[0][0]), [method for method, _ in work[0][1]]) == (1, ["hash"])
