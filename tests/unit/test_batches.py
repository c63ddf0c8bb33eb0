"""Batches: who comes first works at once, who comes meanwhile is worked on together, and each gets their own result."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any

import pytest

from promo_api.batches import Batches
from promo_api.dev.processes import wait_until

_PATIENCE_S = 10


class _Work:
    """Work that a test holds back: `begun` is set by the first batch, which then waits for `go_on`."""

    def __init__(self) -> None:
        self.done: list[list[Any]] = []
        self.begun, self.go_on = Event(), Event()

    def __call__(self, items: Sequence[Any]) -> list[Any]:
        """Return each item as a text; an item that is an exception is the result itself."""
        self.done.append(list(items))
        self.begun.set()
        assert self.go_on.wait(_PATIENCE_S)
        return [item if isinstance(item, Exception) else str(item) for item in items]


def _joined(batches: Batches, key: str, count: int) -> Callable[[], bool]:
    return lambda: len(batches._newest[key].items) == count


def _together(batches: Batches, work: Any, items: Sequence[Any], threads: ThreadPoolExecutor) -> list[Future[Any]]:
    """Have the first item be worked on, and all others wait meanwhile, in their order; then let the work go on."""
    futures = [threads.submit(batches.do, "key", items[0], work)]
    assert work.begun.wait(_PATIENCE_S)
    for count, item in enumerate(items[1:], 1):
        futures.append(threads.submit(batches.do, "key", item, work))
        assert wait_until(_joined(batches, "key", count), _PATIENCE_S)
    work.go_on.set()
    return futures


def test_alone() -> None:
    """One who asks alone is worked on alone, at once, and nothing is left of it."""
    batches, work = Batches(), _Work()
    work.go_on.set()
    assert [batches.do("key", item, work) for item in (1, 2)] == ["1", "2"]
    assert work.done == [[1], [2]]
    assert batches._newest == {}


def test_those_who_come_meanwhile_are_one_batch() -> None:
    """All who come while the first one is worked on are the next batch; each gets the result of their own item."""
    batches, work = Batches(), _Work()
    with ThreadPoolExecutor(5) as threads:
        futures = _together(batches, work, [1, 2, 3, 4, 5], threads)
        assert [future.result(_PATIENCE_S) for future in futures] == ["1", "2", "3", "4", "5"]
    assert work.done == [[1], [2, 3, 4, 5]]
    assert batches._newest == {}


def test_keys_do_not_wait_for_each_other() -> None:
    """What is done under another key waits for nobody."""
    batches, work, other = Batches(), _Work(), _Work()
    other.go_on.set()
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(batches.do, "key", 1, work)
        assert work.begun.wait(_PATIENCE_S)
        assert batches.do("other", 2, other) == "2"
        work.go_on.set()
        assert held.result(_PATIENCE_S) == "1"


def test_exception_as_a_result() -> None:
    """An exception among the results is raised for the one whose item it was, and for nobody else."""
    batches, work = Batches(), _Work()
    with ThreadPoolExecutor(4) as threads:
        futures = _together(batches, work, [1, 2, KeyError("of three"), 4], threads)
        assert [future.result(_PATIENCE_S) for future in (futures[1], futures[3])] == ["2", "4"]
        with pytest.raises(KeyError, match="of three"):
            futures[2].result(_PATIENCE_S)


def test_work_that_fails() -> None:
    """When the work fails it has failed for all who were in the batch, and those who come next are worked on."""
    batches, work = Batches(), _Work()

    def fail(_items: Sequence[Any]) -> list[Any]:
        work(_items)
        raise OSError("no disk")

    fail.begun, fail.go_on = work.begun, work.go_on  # type: ignore[attr-defined]
    with ThreadPoolExecutor(3) as threads:
        for future in _together(batches, fail, [1, 2, 3], threads):
            with pytest.raises(OSError, match="no disk"):
                future.result(_PATIENCE_S)
    assert batches.do("key", 4, work) == "4"
    assert batches._newest == {}


def test_many_at_once() -> None:
    """However many come at once, each is worked on once, in fewer batches than there are items."""
    batches, barrier, done = Batches(), Barrier(16), []

    def work(items: Sequence[int]) -> list[int]:
        done.append(list(items))
        return [-item for item in items]

    def ask(number: int) -> list[int]:
        barrier.wait(_PATIENCE_S)
        return [batches.do("key", item, work) for item in range(number * 100, number * 100 + 100)]

    with ThreadPoolExecutor(16) as threads:
        answers = [answer for part in threads.map(ask, range(16)) for answer in part]
    assert answers == [-item for item in range(1600)]
    assert sorted(item for items in done for item in items) == list(range(1600))
    assert batches._newest == {}
