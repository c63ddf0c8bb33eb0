"""Clients that activate promos during a fault, and assertions about the result."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from threading import Event, Lock, Thread
from typing import Any
from uuid import UUID, uuid4

import requests
from sqlalchemy import select

from persistence.database.engine import Database
from persistence.schema.tables import activations, promo_codes, stored_responses
from promo_api.config.settings import Settings
from promo_api.dev.processes import wait_until
from tests.accounts import Account
from tests.e2e.server import Server
from tests.race.consistency import recounted

_CLIENTS = 8
_CODES = 5000
_TIMEOUT_S = 60


class ActivationLoad:
    """Clients that activate one promo of each mode.

    Half of the clients send an Idempotency-Key, and repeat a request without a response or with a 503 until it has
    another status. The others do not repeat requests.

    Attributes:
        codes: the received codes, by promo.
        successful_keys: the idempotency keys of successful requests.
        statuses: the count of each status; 0: no response.
    """

    def __init__(self, server: Server) -> None:
        accounts = server.accounts
        self._server = server
        self._users = [accounts.sign_up_user() for _ in range(_CLIENTS)]
        company = accounts.sign_up_company()
        codes = [f"load-{number}" for number in range(_CODES)]
        self.promos = [company.create_promo(max_count=10**6), company.create_promo(promo_unique=codes)]
        self.codes: dict[str, list[str]] = {promo_id: [] for promo_id in self.promos}
        self.successful_keys: set[str] = set()
        self.statuses: Counter[int] = Counter()
        self._lock, self._stopped = Lock(), Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Activate promos during the block. Requests succeed before it begins and before it ends."""
        clients = [Thread(target=self._run, args=(user, n % 2 == 0)) for n, user in enumerate(self._users)]
        for client in clients:
            client.start()
        try:
            self.await_successes()
            yield
            self.await_successes()
        finally:
            self._stopped.set()
            for client in clients:
                client.join(_TIMEOUT_S)
        assert not any(client.is_alive() for client in clients)

    def await_successes(self, count: int = 40) -> None:
        """Wait until `count` more requests have succeeded."""
        goal = self.statuses[200] + count
        assert wait_until(lambda: self.statuses[200] >= goal, _TIMEOUT_S), self.statuses

    def await_status(self, status: int, count: int = 1) -> None:
        """Wait until `count` more requests have had a status; 0: no response."""
        goal = self.statuses[status] + count
        assert wait_until(lambda: self.statuses[status] >= goal, _TIMEOUT_S), self.statuses

    def assert_exact(self) -> None:
        """Assert that no code was issued twice or lost, and that all counters are exact."""
        database = Database(Settings.from_environment(self._server.environment))
        try:
            for promo_id in self.promos:
                assert len(self.codes[promo_id]) <= recounted(database, promo_id).uses
            codes = self.codes[self.promos[1]]
            assert len(codes) == len(set(codes))
            assert self._issued_codes(database) >= set(codes)
            with database.autocommit() as connection:
                keys = Counter(
                    connection.scalars(
                        select(stored_responses.c.key).where(stored_responses.c.key.in_(self.successful_keys))
                    )
                )
            assert keys == Counter(self.successful_keys)
        finally:
            database.close()

    def _issued_codes(self, database: Database) -> set[str]:
        """Return the codes that are stored with an activation."""
        statement = (
            select(promo_codes.c.value)
            .join(activations, activations.c.id == promo_codes.c.activation_id)
            .where(promo_codes.c.promo_id == UUID(self.promos[1]), activations.c.promo_id == promo_codes.c.promo_id)
        )
        with database.autocommit() as connection:
            return set(connection.scalars(statement))

    def _run(self, user: Account, with_keys: bool) -> None:
        for promo_id in cycle(self.promos):
            if self._stopped.is_set():
                return
            self._activate(user, promo_id, str(uuid4()) if with_keys else None)

    def _activate(self, user: Account, promo_id: str, key: str | None) -> None:
        headers = {} if key is None else {"Idempotency-Key": key}
        while True:
            status, value = _send(lambda: user.post(f"/user/promo/{promo_id}/activate", headers=headers))
            with self._lock:
                self.statuses[status] += 1
                if status == 200:
                    self.codes[promo_id].append(value)
                    self.successful_keys |= {key} if key is not None else set()
            if key is None or status not in (0, 503) or self._stopped.is_set():
                return


def _send(request: Callable[[], Any]) -> tuple[int, str]:
    """Return the status and the code; status 0 if there was no response."""
    try:
        response = request()
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):  # before or during the response
        return 0, ""
    return response.status_code, response.json().get("promo", "")
