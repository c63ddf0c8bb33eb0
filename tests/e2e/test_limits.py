"""Limits of a server with several processes, as it is by default but for how much may be tried."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.accounts import PASSWORD, new_email, user_body
from tests.conformance import Conformance
from tests.e2e.conftest import House, assert_discreet
from tests.e2e.scrape import scrape, with_metrics
from tests.e2e.server import Server

_WRONG = "Wr0ng!word"
_STRICT = {
    "FAILED_SIGN_INS_PER_ACCOUNT": "5/600",
    "FAILED_SIGN_INS_PER_ADDRESS": "40/600",
    "ACTIVATIONS_PER_USER": "30/600",
}


@pytest.fixture
def strict(house: House, conformance: Conformance, tmp_path: Path) -> Iterator[Server]:
    """A server of two workers in the house, where little may be tried, and nothing has been."""
    with redis.Redis(house.valkey.host, house.valkey.port) as counters:
        counters.flushdb()
    with Server(with_metrics(house.environment | _STRICT), tmp_path, conformance) as server:
        yield server
    assert_discreet(server)


def _sign_in(server: Server, email: str, password: str, *_number: int, **headers: str) -> Any:
    body = {"email": email, "password": password}
    return server.people.call("POST", "/user/auth/sign-in", json=body, headers=headers)


def test_limits_hold(strict: Server) -> None:
    """Over two workers, by many at once and after both have died, each limit is kept; nobody else is hit."""
    victim, honest = strict.people.sign_up_user(), strict.people.sign_up_user()
    path = f"/user/promo/{strict.people.sign_up_company().create_promo()}/activate"
    email = victim.body["email"]
    with ThreadPoolExecutor(8) as threads:
        guesses = [*threads.map(partial(_sign_in, strict, email, _WRONG), range(40))]
        signed_in = [*threads.map(partial(_sign_in, strict, honest.body["email"], PASSWORD), range(60))]
        activated = [*threads.map(lambda _: victim.post(path), range(60))]
    assert Counter(answer.status_code for answer in guesses) == {401: 5, 429: 35}
    assert {answer.status_code for answer in signed_in} == {200}
    assert Counter(answer.status_code for answer in activated) == {200: 30, 429: 30}
    limits = ("failed-sign-ins-per-account", "activations-per-user")
    refused = [scrape(strict)("promo_limit_refusals_total", limit=limit) for limit in limits]
    assert refused == [35, 30]
    strict.kill_workers()
    assert _sign_in(strict, email, PASSWORD).status_code == 429
    assert victim.post(path).status_code == 429


def test_stuffing(strict: Server) -> None:
    """Who tries many accounts from one address is stopped there, and can't claim to be elsewhere."""
    with ThreadPoolExecutor(8) as threads:
        answers = [
            *threads.map(
                lambda number: _sign_in(strict, new_email(), _WRONG, **{"X-Forwarded-For": f"198.51.100.{number}"}),
                range(60),
            )
        ]
    assert Counter(answer.status_code for answer in answers) == {401: 40, 429: 20}
    assert all(0 < int(answer.headers["Retry-After"]) <= 600 for answer in answers if answer.status_code == 429)


def test_full_queue_of_hashes(house: House, conformance: Conformance, tmp_path: Path) -> None:
    """While more passwords come than can be hashed some get 503 with Retry-After, and other requests are quick."""
    dear = {"ARGON2_ITERATIONS": "60", "ARGON2_MEMORY_KIB": "8192", "ARGON2_QUEUE": "2", "SERVER_WORKERS": "1"}
    with Server(house.environment | dear, tmp_path, conformance) as server, ThreadPoolExecutor(16) as threads:
        user = server.people.sign_up_user()
        asked = [threads.submit(server.people.call, "POST", "/user/auth/sign-up", json=user_body()) for _ in range(16)]
        profiles = []
        while not all(future.done() for future in asked):
            profiles.append(user.get("/user/profile"))
        answers = [future.result(60) for future in asked]
        counted = Counter(answer.status_code for answer in answers)
        assert counted.keys() == {200, 503}
        assert counted[200] >= 3
        assert {answer.headers["Retry-After"] for answer in answers if answer.status_code == 503} == {"1"}
        refused = [answer for answer in answers if answer.status_code == 503]
        assert min(answer.elapsed for answer in refused) < min(
            answer.elapsed for answer in answers if answer.status_code == 200
        )
        assert {profile.status_code for profile in profiles} == {200}
        assert user.patch("/user/profile", json={"password": "N3w&Better"}).status_code == 200
