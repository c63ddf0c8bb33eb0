"""Whether an address has an account: a failed sign-in tells it neither by what it answers nor by how long it works."""

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
from tests.conformance import Conformance
from tests.statements import sent_statements

WRONG = "Wr0ngPass!"
BODIES = {"business": company_body, "user": user_body}
# 500 tries of each sort, at several accounts in turn, as one would who looks for accounts.
_TRIES, _ACCOUNTS = 500, 100
_ROUNDS = 3
# A hash takes a quarter of the time of a sign-in with this memory, some 0.5 ms; it is forty times as much by default.
_MEMORY_KIB = 1024
_NOISE = 0.05


@pytest.fixture
def dearer(runtime: Runtime, conformance: Conformance) -> Iterator[Api]:
    """The API with password hashes that take a time which can be told from that of the rest."""
    dear = Runtime.open(replace(runtime.settings, argon2_memory_kib=_MEMORY_KIB))
    with TestClient(create_app(dear), raise_server_exceptions=False) as client:
        yield Api(client, conformance)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """The hashes that are computed from now on: what for, and at what cost."""
    computed: list[tuple[str, Any]] = []
    verify, make = PasswordHasher.verify, PasswordHasher.hash

    def watched_verify(self: PasswordHasher, password_hash: str, password: str) -> bool:
        computed.append(("verify", extract_parameters(password_hash)))
        return bool(verify(self, password_hash, password))

    def watched_hash(self: PasswordHasher, password: str) -> str:
        made = make(self, password)
        computed.append(("hash", extract_parameters(made)))
        return made

    monkeypatch.setattr(PasswordHasher, "verify", watched_verify)
    monkeypatch.setattr(PasswordHasher, "hash", watched_hash)
    return computed


def _sign_up(api: Api, kind: str) -> Account:
    return api.sign_up_company() if kind == "business" else api.sign_up_user()


def _fail(api: Api, kind: str, email: str) -> Any:
    """Return the answer to a sign-in by this address with a password that is not right."""
    return api.call("POST", f"/{kind}/auth/sign-in", json={"email": email, "password": WRONG})


def _worked_s(api: Api, kind: str, email: str) -> float:
    """Return how long this process has worked, and not just waited, for a sign-in that fails."""
    before = process_time()
    answer = _fail(api, kind, email)
    assert answer.status_code == 401
    return process_time() - before


def _difference(api: Api, kind: str, known: list[str]) -> float:
    """Return by how much a sign-in by a known address works longer than one by an unknown one, as a part of it."""
    spent: tuple[list[float], list[float]] = [], []
    for email in islice(cycle(known), _TRIES):
        spent[0].append(_worked_s(api, kind, email))
        spent[1].append(_worked_s(api, kind, new_email()))
    of_known, of_unknown = map(median, spent)
    return of_known / of_unknown - 1


@pytest.mark.parametrize("kind", BODIES)
def test_time_tells_nothing(dearer: Api, kind: str) -> None:
    """In 1,000 failed sign-ins, by known and unknown addresses in turn, the medians differ by less than 5 %.

    What counts is the time of the processor, which other processes make no longer, or hardly; and the best of three
    rounds, since a real difference, such as a hash that is left out, or is cheaper, is there in each of them. The 5 %
    are a fifth of what a hash takes here, and half a hundredth of a sign-in at the default cost.
    """
    known = [_sign_up(dearer, kind).body["email"] for _ in range(_ACCOUNTS)]
    differences: list[float] = []
    while len(differences) < _ROUNDS and not any(abs(each) < _NOISE for each in differences):
        differences.append(_difference(dearer, kind, known))
    assert min(map(abs, differences)) < _NOISE, differences


@pytest.mark.parametrize("kind", BODIES)
def test_same_work_for_any_address(api: Api, hashed: list[tuple[str, Any]], kind: str) -> None:
    """A failed sign-in is one statement and one hash of the cost that is set, whether the address is that of an
    account, of one of the other kind, or of none.
    """
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
    assert (len(statements), [what for what, _ in hashes]) == (1, ["verify"])


@pytest.mark.parametrize("kind", BODIES)
def test_same_answers_however_often(api: Api, kind: str) -> None:
    """Whoever fails again and again is answered the same at a known and at an unknown address."""
    known, unknown = _sign_up(api, kind).body["email"], new_email()
    answers = [[(answer.status_code, answer.text) for answer in (_fail(api, kind, email) for _ in range(25))]
               for email in (known, unknown)]  # fmt: skip
    assert answers[0] == answers[1]


@pytest.mark.parametrize("kind", BODIES)
def test_same_work_for_a_taken_address(api: Api, hashed: list[tuple[str, Any]], kind: str) -> None:
    """A sign-up is one hash and one statement, whether the address is free or taken, which 409 tells by contract."""
    body = BODIES[kind]() | {"password": PASSWORD}
    work = []
    for status in (200, 409):
        hashed.clear()
        with sent_statements() as sent:
            assert api.call("POST", f"/{kind}/auth/sign-up", json=body).status_code == status
        work.append(([statement for statement, _ in sent], hashed.copy()))
    assert work[0] == work[1]
    assert (len(work[0][0]), [what for what, _ in work[0][1]]) == (1, ["hash"])
