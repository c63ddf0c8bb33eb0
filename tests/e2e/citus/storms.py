"""Users who activate promos without a pause, and the comparison of their responses with the tables."""

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event
from time import perf_counter
from types import TracebackType
from typing import Self

from promo_api.dev.processes import wait_until
from tests.accounts import Account
from tests.e2e.citus.cluster import Cluster

_TIMEOUT_S = 60
_SUMS = (
    "SELECT coalesce(sum(activations_count), 0) FROM country_uses WHERE promo_id = %s",
    "SELECT coalesce(sum(activations), 0) FROM promo_activity WHERE promo_id = %s",
)


@dataclass
class Loop:
    """A user who activates a promo again and again.

    Attributes:
        statuses: those of all responses so far, in order.
        values: what was granted so far.
        longest_s: the time of the slowest request.
    """

    user: Account
    promo_id: str
    statuses: list[int] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    longest_s: float = 0.0

    def activate(self) -> int:
        """Activate the promo once, and return the status."""
        began_s = perf_counter()
        response = self.user.post(f"/user/promo/{self.promo_id}/activate")
        self.longest_s = max(self.longest_s, perf_counter() - began_s)
        if response.status_code == 200:
            self.values.append(response.json()["promo"])
        self.statuses.append(response.status_code)
        return self.statuses[-1]

    def since(self, position: int) -> Counter[int]:
        """Count the responses after a position by status."""
        return Counter(self.statuses[position:])


class Storm:
    """Loops that run at the same time, until the end of the block."""

    def __init__(self, loops: Iterable[Loop]) -> None:
        self.loops = list(loops)
        self._stopped = Event()
        self._threads = ThreadPoolExecutor(len(self.loops))
        self._running: list[Future[None]] = []

    def __enter__(self) -> Self:
        """Start the loops."""
        self._running = [self._threads.submit(self._run, loop) for loop in self.loops]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the loops. Raise the error of a loop."""
        self._stopped.set()
        self._threads.shutdown()
        if error is None:
            for each in self._running:
                each.result()

    def await_each(self, status: int, number: int, loops: Sequence[Loop] = ()) -> None:
        """Wait until each of some loops, by default of all, has this many more responses with a status."""
        positions = [(loop, len(loop.statuses)) for loop in loops or self.loops]
        assert wait_until(
            lambda: all(loop.since(position)[status] >= number for loop, position in positions), _TIMEOUT_S
        ), [loop.since(position) for loop, position in positions]

    def _run(self, loop: Loop) -> None:
        while not self._stopped.is_set():
            loop.activate()


def assert_exact(cluster: Cluster, loops: Iterable[Loop]) -> None:
    """Assert that each granted use has its row and its code, that no code was issued twice, and that all counts agree.

    A request with 503 may have taken effect, others may not.
    """
    of_promo: dict[str, list[Loop]] = {}
    for loop in loops:
        of_promo.setdefault(loop.promo_id, []).append(loop)
    for promo_id, those in of_promo.items():
        emails = dict(cluster.coordinator.run("SELECT id, email FROM users"))
        rows = Counter(
            emails[user_id]
            for (user_id,) in cluster.coordinator.run(
                "SELECT user_id FROM activations WHERE promo_id = %s", values=(promo_id,)
            )
        )
        granted, unknown = Counter[str](), Counter[str]()
        for loop in those:
            granted[loop.user.email] += len(loop.values)
            unknown[loop.user.email] += loop.since(0)[503]
        for email, number in granted.items():
            assert number <= rows[email] <= number + unknown[email]
        assert rows.keys() <= granted.keys()
        _assert_counts(cluster, promo_id, sum(rows.values()))
        _assert_codes(cluster, promo_id, [value for loop in those for value in loop.values])


def _assert_counts(cluster: Cluster, promo_id: str, number: int) -> None:
    [(used, limit)] = cluster.coordinator.run(
        "SELECT used_count, use_limit FROM promo_counters WHERE promo_id = %s", values=(promo_id,)
    )
    assert used == number <= limit
    for statement in _SUMS:
        assert cluster.coordinator.run(statement, values=(promo_id,)) == [(number,)]


def _assert_codes(cluster: Cluster, promo_id: str, values: list[str]) -> None:
    codes = cluster.coordinator.run(
        "SELECT value, activation_id FROM promo_codes WHERE promo_id = %s AND activation_id IS NOT NULL",
        values=(promo_id,),
    )
    if not codes:
        assert len(set(values)) <= 1  # COMMON
        return
    activations = cluster.coordinator.run("SELECT id FROM activations WHERE promo_id = %s", values=(promo_id,))
    assert sorted(activation for _, activation in codes) == sorted(row[0] for row in activations)
    assert len(set(values)) == len(values)
    assert set(values) <= {value for value, _ in codes}
