"""Concurrent clients that send requests until they are stopped, and their responses."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle
from threading import Event
from typing import Any, NamedTuple

from promo_api.dev.processes import wait_until
from tests.accounts import Account

_TIMEOUT_S = 60


class TimedResponse(NamedTuple):
    """A response: the action, the status, Retry-After if present, and the response time."""

    action: str
    status: int
    retry_after: str | None
    seconds: float


class MixedLoad:
    """Users who repeatedly activate, like, unlike, comment on and read one promo.

    Attributes:
        responses: the responses of each user, in order.
    """

    def __init__(self, users: list[Account], promo_id: str) -> None:
        self._users = users
        self._path = f"/user/promo/{promo_id}"
        self._stopped = Event()
        self.responses: list[list[TimedResponse]] = [[] for _ in users]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send requests during the block."""
        with ThreadPoolExecutor(len(self._users)) as threads:
            try:
                jobs = [
                    threads.submit(self._send_requests, *job) for job in zip(self._users, self.responses, strict=True)
                ]
                yield
            finally:
                self._stopped.set()
        for job in jobs:
            job.result()

    def all(self) -> list[TimedResponse]:
        """Return the responses of all users."""
        return [response for responses in self.responses for response in responses]

    def count(self, action: str, *statuses: int) -> int:
        """Return how many responses to an action had one of the statuses."""
        return sum(response.action == action and response.status in statuses for response in self.all())

    def wait_for(self, times: int, *statuses: int) -> None:
        """Wait until each user has received `times` more responses with one of the statuses."""
        before = [len(responses) for responses in self.responses]

        def all_have() -> bool:
            new = (responses[start:] for responses, start in zip(self.responses, before, strict=True))
            return all(sum(response.status in statuses for response in responses) >= times for responses in new)

        assert wait_until(all_have, _TIMEOUT_S)

    def _send_requests(self, user: Account, responses: list[TimedResponse]) -> None:
        actions: dict[str, Callable[[], Any]] = {
            "activate": lambda: user.post(f"{self._path}/activate"),
            "like": lambda: user.post(f"{self._path}/like"),
            "comment": lambda: user.post(f"{self._path}/comments", json={"text": "A comment under load"}),
            "read": lambda: user.get(self._path),
            "unlike": lambda: user.delete(f"{self._path}/like"),
        }
        for name, action in cycle(actions.items()):
            if self._stopped.is_set():
                return
            response = action()
            seconds = response.elapsed.total_seconds()
            responses.append(TimedResponse(name, response.status_code, response.headers.get("Retry-After"), seconds))
