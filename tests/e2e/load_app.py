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


class Answer(NamedTuple):
    """A response: the action, the status, Retry-After if present, and the response time."""

    action: str
    status: int
    retry_after: str | None
    seconds: float


class Crowd:
    """Users who repeatedly activate, like, unlike, comment on and read one promo.

    Attributes:
        answers: the responses of each user, in order.
    """

    def __init__(self, users: list[Account], promo_id: str) -> None:
        self._users = users
        self._path = f"/user/promo/{promo_id}"
        self._over = Event()
        self.answers: list[list[Answer]] = [[] for _ in users]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send requests during the block."""
        with ThreadPoolExecutor(len(self._users)) as threads:
            try:
                jobs = [threads.submit(self._ask, *job) for job in zip(self._users, self.answers, strict=True)]
                yield
            finally:
                self._over.set()
        for job in jobs:
            job.result()

    def all(self) -> list[Answer]:
        """Return the responses of all users."""
        return [answer for answers in self.answers for answer in answers]

    def count(self, action: str, *statuses: int) -> int:
        """Return how many responses to an action had one of the statuses."""
        return sum(answer.action == action and answer.status in statuses for answer in self.all())

    def wait_for(self, times: int, *statuses: int) -> None:
        """Wait until each user has received `times` more responses with one of the statuses."""
        before = [len(answers) for answers in self.answers]

        def all_have() -> bool:
            new = (answers[start:] for answers, start in zip(self.answers, before, strict=True))
            return all(sum(answer.status in statuses for answer in answers) >= times for answers in new)

        assert wait_until(all_have, _TIMEOUT_S)

    def _ask(self, user: Account, answers: list[Answer]) -> None:
        actions: dict[str, Callable[[], Any]] = {
            "activate": lambda: user.post(f"{self._path}/activate"),
            "like": lambda: user.post(f"{self._path}/like"),
            "comment": lambda: user.post(f"{self._path}/comments", json={"text": "A comment under load"}),
            "look": lambda: user.get(self._path),
            "unlike": lambda: user.delete(f"{self._path}/like"),
        }
        for name, action in cycle(actions.items()):
            if self._over.is_set():
                return
            answer = action()
            seconds = answer.elapsed.total_seconds()
            answers.append(Answer(name, answer.status_code, answer.headers.get("Retry-After"), seconds))
