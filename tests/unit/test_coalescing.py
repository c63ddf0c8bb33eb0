"""Coalescing: the first item starts at once, concurrent items form one batch, and each caller gets its own result."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any

import pytest

from promo_api.coalescing import Coalescer
from promo_api.sandbox.processes import wait_until

_TIMEOUT_S = 10


class _Process:
    """A function that a test holds back: the first batch sets `started` and waits for `resume`."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.started, self.resume = Event(), Event()

    def __call__(self, items: Sequence[Any]) -> list[Any]:
        """Return each item as a text."""
        self.batches.append(list(items))
        self.started.set()
        assert self.resume.wait(_TIMEOUT_S)
        return [str(item) for item in items]


def _joined(coalescer: Coalescer, count: int) -> Callable[[], bool]:
    return lambda: len(coalescer._newest["key"].items) == count


def _submit_all(
    coalescer: Coalescer, process: Any, items: Sequence[Any], threads: ThreadPoolExecutor
) -> list[Future[Any]]:
    """Start the first item, queue all others in their order while it is processed, then let it resume."""
    futures = [threads.submit(coalescer.submit, "key", items[0], process)]
    assert process.started.wait(_TIMEOUT_S)
    for count, item in enumerate(items[1:], 1):
        futures.append(threads.submit(coalescer.submit, "key", item, process))
        assert wait_until(_joined(coalescer, count), _TIMEOUT_S)
    process.resume.set()
    return futures


def test_uncontended() -> None:
    """Without concurrency each item is a batch, and nothing is left afterwards."""
    coalescer, process = Coalescer(), _Process()
    process.resume.set()
    assert [coalescer.submit("key", item, process) for item in (1, 2)] == ["1", "2"]
    assert process.batches == [[1], [2]]
    assert coalescer._newest == {}


def test_concurrent_items_are_one_batch() -> None:
    """All items that arrive during a batch form the next batch; each caller gets the result of its item."""
    coalescer, process = Coalescer(), _Process()
    with ThreadPoolExecutor(5) as threads:
        futures = _submit_all(coalescer, process, [1, 2, 3, 4, 5], threads)
        assert [future.result(_TIMEOUT_S) for future in futures] == ["1", "2", "3", "4", "5"]
    assert process.batches == [[1], [2, 3, 4, 5]]
    assert coalescer._newest == {}


def test_keys_do_not_wait_for_each_other() -> None:
    """An item does not wait for the batch of another key."""
    coalescer, process, other = Coalescer(), _Process(), _Process()
    other.resume.set()
    with ThreadPoolExecutor(1) as threads:
        blocked = threads.submit(coalescer.submit, "key", 1, process)
        assert process.started.wait(_TIMEOUT_S)
        assert coalescer.submit("other", 2, other) == "2"
        process.resume.set()
        assert blocked.result(_TIMEOUT_S) == "1"


def test_error() -> None:
    """An error is raised for every item of its batch, and later items are processed."""
    coalescer, process = Coalescer(), _Process()

    def fail(items: Sequence[Any]) -> list[Any]:
        process(items)
        raise OSError("no disk")

    fail.started, fail.resume = process.started, process.resume  # type: ignore[attr-defined]
    with ThreadPoolExecutor(3) as threads:
        for future in _submit_all(coalescer, fail, [1, 2, 3], threads):
            with pytest.raises(OSError, match="no disk"):
                future.result(_TIMEOUT_S)
    assert coalescer.submit("key", 4, process) == "4"
    assert coalescer._newest == {}


def test_many_threads() -> None:
    """Items of many threads are each processed exactly once, and each caller gets its own results in order."""
    coalescer, barrier, batches = Coalescer(), Barrier(16), []

    def process(items: Sequence[int]) -> list[int]:
        batches.append(list(items))
        return [-item for item in items]

    def submit(number: int) -> list[int]:
        barrier.wait(_TIMEOUT_S)
        return [coalescer.submit("key", item, process) for item in range(number * 100, number * 100 + 100)]

    with ThreadPoolExecutor(16) as threads:
        results = [result for part in threads.map(submit, range(16)) for result in part]
    assert results == [-item for item in range(1600)]
    assert sorted(item for items in batches for item in items) == list(range(1600))
    assert coalescer._newest == {}
