"""Everything at once on one promo: no deadlock, no failure, and in the end every counter is right."""

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from promo_api.runtime import Runtime
from tests.accounts import Account, Api
from tests.race.interleaving import together
from tests.race.recount import recounted

_THREADS, _STEPS = 16, 25


class _Visitor:
    """A company and a user that do one thing after the other with a promo, chosen by chance that a test can repeat."""

    def __init__(self, number: int, company: Account, users: list[Account], promo_id: str) -> None:
        self._chance = Random(number)  # noqa: S311 nothing secret
        self._company, self._users, self._promo_id = company, users, promo_id
        self._comments: list[tuple[Account, str]] = []
        self.statuses: Counter[tuple[str, int]] = Counter()

    def run(self) -> Counter[tuple[str, int]]:
        """Do as many things as a storm has steps, and return how often each ended with which status."""
        doings: list[Callable[[Account, str], Any]] = [
            self._activate, self._activate, self._like, self._unlike, self._comment, self._delete, self._patch,
        ]  # fmt: skip
        for _ in range(_STEPS):
            doing = self._chance.choice(doings)
            answer = doing(self._chance.choice(self._users), f"/user/promo/{self._promo_id}")
            self.statuses[doing.__name__.strip("_"), answer.status_code] += 1
        return self.statuses

    def _activate(self, user: Account, path: str) -> Any:
        return user.post(f"{path}/activate")

    def _like(self, user: Account, path: str) -> Any:
        return user.post(f"{path}/like")

    def _unlike(self, user: Account, path: str) -> Any:
        return user.delete(f"{path}/like")

    def _comment(self, user: Account, path: str) -> Any:
        answer = user.post(f"{path}/comments", json={"text": "In the middle of it"})
        self._comments.append((user, answer.json()["id"]))
        return answer

    def _delete(self, user: Account, path: str) -> Any:
        if not self._comments:
            return self._comment(user, path)
        author, comment_id = self._comments.pop()
        return author.delete(f"{path}/comments/{comment_id}")

    def _patch(self, _user: Account, _path: str) -> Any:
        limit = {} if self._chance.random() < 0.5 else {"max_count": self._chance.choice([1, 40, 60, 200])}
        changes = {"description": "A new description", "active_from": f"2025-01-{self._chance.randint(1, 28):02}"}
        return self._company.patch(f"/business/promo/{self._promo_id}", json=changes | limit)


@pytest.mark.parametrize("promo", [{"max_count": 50}, {"promo_unique": [f"c{n:03}" for n in range(60)]}])
def test_storm(api: Api, crowd: Runtime, promo: dict[str, Any]) -> None:
    """Sixteen threads that activate, like, unlike, comment, delete and change one promo end without a failure."""
    company, users = api.sign_up_company(), [api.sign_up_user() for _ in range(4)]
    promo_id = company.create_promo(**promo)
    visitors = [_Visitor(number, company, users, promo_id) for number in range(_THREADS)]
    statuses = sum(together([visitor.run for visitor in visitors]), Counter[tuple[str, int]]())
    assert {status for _, status in statuses} <= {200, 201, 400, 403}
    assert {doing for doing, _ in statuses} == {"activate", "like", "unlike", "comment", "delete", "patch"}
    counts = recounted(crowd.database, promo_id)
    assert counts.uses == statuses["activate", 200]
    assert counts.comments == statuses["comment", 201] + statuses["delete", 201] - statuses["delete", 200]
