"""Every worker killed at a certain point of an activation: the client that repeats it has its one value."""

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

from persistence.engine import Database
from promo_api.sandbox.processes import wait_until
from promo_api.settings import Settings
from tests.accounts import Account
from tests.e2e.conftest import House
from tests.race.recount import recounted

_PATIENCE_S = 30
_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'promo' AND wait_event_type = 'Lock'"
_BUSY = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'promo' AND state <> 'idle' AND pid <> pg_backend_pid()"
_HOLD_PROMO = "SELECT FROM promo_counters WHERE promo_id = %s FOR UPDATE"
_HOLD_KEY = (
    "INSERT INTO kept_answers (account_id, operation, key, fingerprint, status, body, expires_at)"
    " VALUES (%s, 'user_activations.activate_promo', %s, '', 200, '{}', now() + interval '1 hour')"
)


@dataclass
class Attempt:
    """An activation that gets no answer: a user, a promo with two codes, and a key, or none."""

    house: House
    user: Account
    promo_id: str
    key: str | None

    def ask(self) -> Any:
        """Send the request."""
        headers = {} if self.key is None else {"Idempotency-Key": self.key}
        return self.user.post(f"/user/promo/{self.promo_id}/activate", headers=headers)

    def die(self, at: Callable[[], bool]) -> None:
        """Send the request, and kill all workers once it is at a certain point; it gets no answer."""
        with ThreadPoolExecutor(1) as thread:
            answer: Future[Any] = thread.submit(self.ask)
            assert wait_until(at, _PATIENCE_S)
            self.house.server.kill_workers()
            with pytest.raises(requests.ConnectionError):
                answer.result(_PATIENCE_S)

    def uses(self) -> int:
        """Return how many activations are recorded, once it is certain that all is counted right."""
        database = Database(Settings.from_environment(self.house.environment))
        try:
            return recounted(database, self.promo_id).uses
        finally:
            database.close()

    def assert_one_value(self) -> None:
        """Assert that the repeated request has a value, the same one each time, and that it is the only use."""
        answers = [self.ask() for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
        assert answers[0].json() == answers[1].json()
        assert answers[1].headers["Idempotent-Replayed"] == "true"
        assert self.uses() == 1


@pytest.fixture
def attempt(house: House) -> Attempt:
    """An attempt with a key of its own."""
    people = house.server.people
    promo_id = people.sign_up_company().create_promo(promo_unique=["mortal-1", "mortal-2"])
    return Attempt(house, people.sign_up_user(), promo_id, str(uuid4()))


@contextmanager
def _connected(house: House, *, autocommit: bool = True) -> Iterator[psycopg.Connection[Any]]:
    target = {"host": house.postgres.host, "port": house.postgres.port, "user": house.postgres.username}
    with psycopg.connect(**target, dbname="promo", autocommit=autocommit) as connection:
        yield connection


def _count(house: House, statement: str) -> int:
    with _connected(house) as connection:
        [(number,)] = connection.execute(statement).fetchall()  # type: ignore[call-overload]
    return int(number)


def _waits(house: House) -> Callable[[], bool]:
    """Return whether somebody waits for a lock."""
    return lambda: _count(house, _WAITING) == 1


def test_while_the_antifraud_service_is_asked(house: House, attempt: Attempt) -> None:
    """Nothing has happened yet, and the repeated request is carried out, however long the dead one is remembered."""
    email = attempt.user.body["email"]
    house.steer(user_email=email, delay_ms=60_000)
    attempt.die(lambda: house.calls(email) == 1)
    house.forget()
    attempt.assert_one_value()


def test_while_the_claim_waits(house: House, attempt: Attempt) -> None:
    """The claim goes on without its client, and is undone since its answer can't be kept any more."""
    with _connected(house, autocommit=False) as holder:
        holder.execute(_HOLD_PROMO, [attempt.promo_id])
        attempt.die(_waits(house))
        holder.rollback()
    attempt.assert_one_value()


def test_while_the_answer_is_kept(house: House, attempt: Attempt) -> None:
    """The use is counted and the code issued, and both are undone since the answer is not kept."""
    user_id = jwt.decode(attempt.user.token, options={"verify_signature": False})["sub"]
    with _connected(house, autocommit=False) as holder:
        holder.execute(_HOLD_KEY, [user_id, attempt.key])
        attempt.die(_waits(house))
        holder.rollback()
    attempt.assert_one_value()


def test_without_a_key(house: House, attempt: Attempt) -> None:
    """A claim whose client is gone is recorded or not, and the counter tells the same as the rows."""
    attempt.key = None
    with _connected(house, autocommit=False) as holder:
        holder.execute(_HOLD_PROMO, [attempt.promo_id])
        attempt.die(_waits(house))
        holder.rollback()
    assert wait_until(lambda: _count(house, _BUSY) == 0, _PATIENCE_S)
    recorded = attempt.uses()
    assert recorded in (0, 1)
    given = [attempt.ask().status_code for _ in range(3)]
    assert given == [200] * (2 - recorded) + [403] * (1 + recorded)
    assert attempt.uses() == 2
