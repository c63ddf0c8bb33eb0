"""Rate limits of a server with two workers."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.accounts import PASSWORD, new_email, user_body
from tests.e2e.environment import Environment, assert_no_secrets
from tests.e2e.scrape import scrape, with_metrics
from tests.e2e.server import Server

_WRONG = "Wr0ng!word"
_STRICT = {
    "FAILED_SIGN_INS_PER_ACCOUNT": "5/600",
    "FAILED_SIGN_INS_PER_ADDRESS": "40/600",
    "ACTIVATIONS_PER_USER": "30/600",
}


@pytest.fixture
def server(env: Environment, tmp_path: Path) -> Iterator[Server]:
    """A server with two workers, low limits and empty counters."""
    with redis.Redis(env.valkey.host, env.valkey.port) as counters:
        counters.flushdb()
    with Server(with_metrics(env.variables | _STRICT), tmp_path) as server:
        yield server
    assert_no_secrets(server)


def _sign_in(server: Server, email: str, password: str, *_number: int, **headers: str) -> Any:
    body = {"email": email, "password": password}
    return server.accounts.call("POST", "/user/auth/sign-in", json=body, headers=headers)


def test_limits_hold(server: Server) -> None:
    """Limits hold over two workers, for concurrent requests and after kills; other accounts are not affected."""
    victim, honest = server.accounts.sign_up_user(), server.accounts.sign_up_user()
    path = f"/user/promo/{server.accounts.sign_up_company().create_promo()}/activate"
    email = victim.body["email"]
    with ThreadPoolExecutor(8) as threads:
        guesses = [*threads.map(partial(_sign_in, server, email, _WRONG), range(40))]
        signed_in = [*threads.map(partial(_sign_in, server, honest.body["email"], PASSWORD), range(60))]
        activated = [*threads.map(lambda _: victim.post(path), range(60))]
    assert Counter(response.status_code for response in guesses) == {401: 5, 429: 35}
    assert {response.status_code for response in signed_in} == {200}
    assert Counter(response.status_code for response in activated) == {200: 30, 429: 30}
    limits = ("failed-sign-ins-per-account", "activations-per-user")
    refused = [scrape(server)("promo_rate_limit_refusals_total", limit=limit) for limit in limits]
    assert refused == [35, 30]
    server.kill_workers()
    assert _sign_in(server, email, PASSWORD).status_code == 429
    assert victim.post(path).status_code == 429


def test_stuffing(server: Server) -> None:
    """Attempts on many accounts from one address are limited, also with a forged X-Forwarded-For."""
    with ThreadPoolExecutor(8) as threads:
        responses = [
            *threads.map(
                lambda number: _sign_in(server, new_email(), _WRONG, **{"X-Forwarded-For": f"198.51.100.{number}"}),
                range(60),
            )
        ]
    assert Counter(response.status_code for response in responses) == {401: 40, 429: 20}
    assert all(0 < int(response.headers["Retry-After"]) <= 600 for response in responses if response.status_code == 429)


def test_full_queue_of_hashes(env: Environment, tmp_path: Path) -> None:
    """If the queue of password hashes is full, requests get 503 with Retry-After; other requests are fast."""
    expensive = {"ARGON2_ITERATIONS": "60", "ARGON2_MEMORY_KIB": "8192", "ARGON2_QUEUE": "2", "SERVER_WORKERS": "1"}
    with Server(env.variables | expensive, tmp_path) as server, ThreadPoolExecutor(16) as threads:
        user = server.accounts.sign_up_user()
        sign_ups = [
            threads.submit(server.accounts.call, "POST", "/user/auth/sign-up", json=user_body()) for _ in range(16)
        ]
        profiles = []
        while not all(future.done() for future in sign_ups):
            profiles.append(user.get("/user/profile"))
        responses = [future.result(60) for future in sign_ups]
        counted = Counter(response.status_code for response in responses)
        assert counted.keys() == {200, 503}
        assert counted[200] >= 3
        assert {response.headers["Retry-After"] for response in responses if response.status_code == 503} == {"1"}
        refused = [response for response in responses if response.status_code == 503]
        assert min(response.elapsed for response in refused) < min(
            response.elapsed for response in responses if response.status_code == 200
        )
        assert {profile.status_code for profile in profiles} == {200}
        assert user.patch("/user/profile", json={"password": "N3w&Better"}).status_code == 200
