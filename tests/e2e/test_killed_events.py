"""Workers are killed while they activate promos and publish events: each activation is listed once."""

from threading import Lock
from typing import Any

import requests

from promo_api.dev.processes import wait_until
from tests.accounts import Account
from tests.e2e.server import Server
from tests.e2e.storms import CUT, activate_during_kills

_LIMIT = 400
_TIMEOUT_S = 60


class _Receiver:
    """A program that follows the events of a company by their cursor."""

    def __init__(self, company: Account) -> None:
        self._company = company
        self._cursor: dict[str, str] = {}
        self._lock = Lock()
        self.events: list[dict[str, Any]] = []

    def read(self) -> None:
        """Read the next page, if the server responds."""
        with self._lock:
            try:
                response = self._company.get("/business/events", params={"limit": 50, **self._cursor})
            except CUT:
                return
            if response.status_code == requests.codes.ok:
                self.events += response.json()
                self._cursor = {"cursor": response.headers["X-Next-Cursor"]}

    def has_read(self, type_: str, count: int) -> bool:
        """Read a page, and return whether at least `count` events of a type were read."""
        self.read()
        return self.count(type_) >= count

    def count(self, type_: str) -> int:
        """Count the events of a type."""
        return sum(event["type"] == type_ for event in self.events)


def test_killed_workers_during_activations(own_server: Server) -> None:
    """A storm of activations with three kills of a worker is listed without a gap, and each crossing once."""
    company = own_server.accounts.sign_up_company()
    users = [own_server.accounts.sign_up_user() for _ in range(8)]
    promo_id = company.create_promo(max_count=_LIMIT, low_stock_percent=25, activation_events=True)
    receiver = _Receiver(company)
    activate_during_kills(
        own_server, users, promo_id, (100, 200, 350), lambda number: number % 20 == 0 and receiver.read()
    )
    uses = company.get(f"/business/promo/{promo_id}").json()["used_count"]
    assert uses == _LIMIT
    assert wait_until(lambda: receiver.has_read("promo.exhausted", 1), _TIMEOUT_S)
    assert wait_until(lambda: receiver.has_read("promo.activated", uses), _TIMEOUT_S)
    receiver.read()
    assert len({event["id"] for event in receiver.events}) == len(receiver.events)
    used = [event["data"]["used_count"] for event in receiver.events if event["type"] == "promo.activated"]
    assert sorted(used) == [*range(1, _LIMIT + 1)]
    assert [receiver.count(type_) for type_ in ("promo.low_stock", "promo.exhausted")] == [1, 1]
    assert receiver.count("promo.created") == 1
