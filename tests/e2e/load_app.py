"""Many clients at once, each going on until it is told to stop; what they were answered, and how long they waited."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle
from threading import Event
from typing import Any, NamedTuple

from promo_api.sandbox.processes import wait_until
from tests.accounts import Account

_PATIENCE_S = 60


class Answer(NamedTuple):
    """The answer to one request: what was done, the status, Retry-After if any, and how long it took."""

    doing: str
    status: int
    retry_after: str | None
    seconds: float


class Crowd:
    """Users who activate, like, unlike, comment on and look at one promo, over and over.

    Attributes:
        answers: of each user, in order.
    """

    def __init__(self, users: list[Account], promo_id: str) -> None:
        self._users = users
        self._path = f"/user/promo/{promo_id}"
        self._over = Event()
        self.answers: list[list[Answer]] = [[] for _ in users]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Have them ask for the time of a block."""
        with ThreadPoolExecutor(len(self._users)) as threads:
            try:
                jobs = [threads.submit(self._ask, *job) for job in zip(self._users, self.answers, strict=True)]
                yield
            finally:
                self._over.set()
        for job in jobs:
            job.result()

    def all(self) -> list[Answer]:
        """Return all answers."""
        return [answer for answers in self.answers for answer in answers]

    def count(self, doing: str, *statuses: int) -> int:
        """Return how often something was answered with one of these statuses."""
        return sum(answer.doing == doing and answer.status in statuses for answer in self.all())

    def wait_for(self, times: int, *statuses: int) -> None:
        """Wait until each of them has been answered so often more with one of these statuses."""
        before = [len(answers) for answers in self.answers]

        def all_have() -> bool:
            new = (answers[start:] for answers, start in zip(self.answers, before, strict=True))
            return all(sum(answer.status in statuses for answer in answers) >= times for answers in new)

        assert wait_until(all_have, _PATIENCE_S)

    def _ask(self, user: Account, answers: list[Answer]) -> None:
        doings: dict[str, Callable[[], Any]] = {
            "activate": lambda: user.post(f"{self._path}/activate"),
            "like": lambda: user.post(f"{self._path}/like"),
            "comment": lambda: user.post(f"{self._path}/comments", json={"text": "In the middle of it"}),
            "look": lambda: user.get(self._path),
            "unlike": lambda: user.delete(f"{self._path}/like"),
        }
        for name, doing in cycle(doings.items()):
            if self._over.is_set():
                return
            answer = doing()
            seconds = answer.elapsed.total_seconds()
            answers.append(Answer(name, answer.status_code, answer.headers.get("Retry-After"), seconds))
