"""All workers are killed during an activation: a repeated request returns exactly one value."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import jwt
import psycopg
import pytest
import requests

from persistence.database.engine import Database
from promo_api.config.settings import Settings
from promo_api.dev.processes import wait_until
from tests.accounts import Account
from tests.e2e.environment import Environment
from tests.race.consistency import recounted

_TIMEOUT_S = 30
_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'promo' AND wait_event_type = 'Lock'"
_BUSY = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'promo' AND state <> 'idle' AND pid <> pg_backend_pid()"
_HOLD_PROMO = "SELECT FROM promo_counters WHERE promo_id = %s FOR UPDATE"
_HOLD_KEY = (
    "INSERT INTO kept_answers (account_id, operation, key, fingerprint, status, body, expires_at)"
    " VALUES (%s, 'user_activations.activate_promo', %s, '', 200, '{}', now() + interval '1 hour')"
)


@dataclass
class Attempt:
    """An activation without a response: a user, a promo with two codes, and an idempotency key or None."""

    env: Environment
    user: Account
    promo_id: str
    key: str | None

    def send(self) -> Any:
        """Send the request."""
        headers = {} if self.key is None else {"Idempotency-Key": self.key}
        return self.user.post(f"/user/promo/{self.promo_id}/activate", headers=headers)

    def send_and_kill(self, at: Callable[[], bool]) -> None:
        """Send the request, and kill all workers once `at()` is true."""
        with ThreadPoolExecutor(1) as thread:
            response: Future[Any] = thread.submit(self.send)
            assert wait_until(at, _TIMEOUT_S)
            self.env.server.kill_workers()
            with pytest.raises(requests.ConnectionError):
                response.result(_TIMEOUT_S)

    def uses(self) -> int:
        """Check all counters, and return the number of stored activations."""
        database = Database(Settings.from_environment(self.env.variables))
        try:
            return recounted(database, self.promo_id).uses
        finally:
            database.close()

    def assert_one_value(self) -> None:
        """Assert that repeated requests return the same value, and that it is the only activation."""
        responses = [self.send() for _ in range(2)]
        assert [response.status_code for response in responses] == [200, 200], responses[0].text
        assert responses[0].json() == responses[1].json()
        assert responses[1].headers["Idempotent-Replayed"] == "true"
        assert self.uses() == 1


@pytest.fixture
def attempt(env: Environment) -> Attempt:
    """An attempt with an idempotency key."""
    accounts = env.server.accounts
    promo_id = accounts.sign_up_company().create_promo(promo_unique=["mortal-1", "mortal-2"])
    return Attempt(env, accounts.sign_up_user(), promo_id, str(uuid4()))


@contextmanager
def _connected(env: Environment, *, autocommit: bool = True) -> Iterator[psycopg.Connection[Any]]:
    target = {"host": env.postgres.host, "port": env.postgres.port, "user": env.postgres.username}
    with psycopg.connect(**target, dbname="promo", autocommit=autocommit) as connection:
        yield connection


def _count(env: Environment, statement: str) -> int:
    with _connected(env) as connection:
        [(number,)] = connection.execute(statement).fetchall()  # type: ignore[call-overload]
    return int(number)


def _is_waiting_for_lock(env: Environment) -> Callable[[], bool]:
    """Return a function that returns whether a session waits for a lock."""
    return lambda: _count(env, _WAITING) == 1


def test_kill_during_antifraud_call(env: Environment, attempt: Attempt) -> None:
    """Nothing was stored, and the repeated request is executed although the lease of the first still exists."""
    email = attempt.user.body["email"]
    env.configure_antifraud(user_email=email, delay_ms=60_000)
    attempt.send_and_kill(lambda: env.antifraud_calls(email) == 1)
    env.reset_antifraud()
    attempt.assert_one_value()


def test_kill_while_claim_waits(env: Environment, attempt: Attempt) -> None:
    """The claim continues in PostgreSQL, and is rolled back because its response cannot be stored."""
    with _connected(env, autocommit=False) as holder:
        holder.execute(_HOLD_PROMO, [attempt.promo_id])
        attempt.send_and_kill(_is_waiting_for_lock(env))
        holder.rollback()
    attempt.assert_one_value()


def test_kill_while_response_is_stored(env: Environment, attempt: Attempt) -> None:
    """The activation is rolled back, because its response is not stored."""
    user_id = jwt.decode(attempt.user.token, options={"verify_signature": False})["sub"]
    with _connected(env, autocommit=False) as holder:
        holder.execute(_HOLD_KEY, [user_id, attempt.key])
        attempt.send_and_kill(_is_waiting_for_lock(env))
        holder.rollback()
    attempt.assert_one_value()


def test_kill_without_idempotency_key(env: Environment, attempt: Attempt) -> None:
    """The claim is committed or not, and the counters agree with the rows."""
    attempt.key = None
    with _connected(env, autocommit=False) as holder:
        holder.execute(_HOLD_PROMO, [attempt.promo_id])
        attempt.send_and_kill(_is_waiting_for_lock(env))
        holder.rollback()
    assert wait_until(lambda: _count(env, _BUSY) == 0, _TIMEOUT_S)
    stored = attempt.uses()
    assert stored in (0, 1)
    statuses = [attempt.send().status_code for _ in range(3)]
    assert statuses == [200] * (2 - stored) + [403] * (1 + stored)
    assert attempt.uses() == 2
