"""Concurrent random operations on one promo: no deadlock, no failure, and exact counters at the end."""

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from promo_api.runtime import Runtime
from tests.accounts import Account, Api
from tests.race.consistency import recounted
from tests.race.interleaving import together

_THREADS, _STEPS = 16, 25


class _RandomClient:
    """A client that sends a reproducible random sequence of requests for one promo."""

    def __init__(self, number: int, company: Account, users: list[Account], promo_id: str) -> None:
        self._random = Random(number)  # noqa: S311 nothing secret
        self._company, self._users, self._promo_id = company, users, promo_id
        self._comments: list[tuple[Account, str]] = []
        self.statuses: Counter[tuple[str, int]] = Counter()

    def run(self) -> Counter[tuple[str, int]]:
        """Send the requests, and count them by operation and status."""
        operations: list[Callable[[Account, str], Any]] = [
            self._activate, self._activate, self._like, self._unlike, self._comment, self._delete, self._patch,
        ]  # fmt: skip
        for _ in range(_STEPS):
            operation = self._random.choice(operations)
            response = operation(self._random.choice(self._users), f"/user/promo/{self._promo_id}")
            self.statuses[operation.__name__.strip("_"), response.status_code] += 1
        return self.statuses

    def _activate(self, user: Account, path: str) -> Any:
        return user.post(f"{path}/activate")

    def _like(self, user: Account, path: str) -> Any:
        return user.post(f"{path}/like")

    def _unlike(self, user: Account, path: str) -> Any:
        return user.delete(f"{path}/like")

    def _comment(self, user: Account, path: str) -> Any:
        response = user.post(f"{path}/comments", json={"text": "A comment under load"})
        self._comments.append((user, response.json()["id"]))
        return response

    def _delete(self, user: Account, path: str) -> Any:
        if not self._comments:
            return self._comment(user, path)
        author, comment_id = self._comments.pop()
        return author.delete(f"{path}/comments/{comment_id}")

    def _patch(self, _user: Account, _path: str) -> Any:
        limit = {} if self._random.random() < 0.5 else {"max_count": self._random.choice([1, 40, 60, 200])}
        changes = {"description": "A new description", "active_from": f"2025-01-{self._random.randint(1, 28):02}"}
        return self._company.patch(f"/business/promo/{self._promo_id}", json=changes | limit)


@pytest.mark.parametrize("promo", [{"max_count": 50}, {"promo_unique": [f"c{n:03}" for n in range(60)]}])
def test_storm(api: Api, runtime: Runtime, promo: dict[str, Any]) -> None:
    """Sixteen threads activate, like, unlike, comment on and change one promo without a failure."""
    company, users = api.sign_up_company(), [api.sign_up_user() for _ in range(4)]
    promo_id = company.create_promo(**promo)
    clients = [_RandomClient(number, company, users, promo_id) for number in range(_THREADS)]
    statuses = sum(together([client.run for client in clients]), Counter[tuple[str, int]]())
    assert {status for _, status in statuses} <= {200, 201, 400, 403}
    assert {operation for operation, _ in statuses} == {"activate", "like", "unlike", "comment", "delete", "patch"}
    counts = recounted(runtime.database, promo_id)
    assert counts.uses == statuses["activate", 200]
    assert counts.comments == statuses["comment", 201] + statuses["delete", 201] - statuses["delete", 200]
