"""Coalescing: requests that arrive while another one runs form the next batch.

The batch runs on the thread of its first request. A request waits for at most two batches: the current one and its own.
"""

from collections.abc import Callable, Hashable, Sequence
from threading import Event, Lock
from typing import Any, TypeVar

from promo_api.telemetry import metrics

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class _Batch:
    """Items that are processed together after the previous batch."""

    def __init__(self, previous: "_Batch | None") -> None:
        self.previous = previous
        self.is_open = True
        self.done = Event()  # set after `results` or `error`
        self.items: list[Any] = []
        self.results: Sequence[Any] = ()
        self.error: Exception | None = None


class Coalescer:
    """The batches of one process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._newest: dict[Hashable, _Batch] = {}

    def submit(self, key: Hashable, item: _Item, process: Callable[[Sequence[_Item]], Sequence[_Result]]) -> _Result:
        """Process an item together with other items of the same key, and return its result.

        `process` must be equivalent for all items of a key. Its exception is raised for every item of the batch.
        """
        with self._lock:
            batch = self._newest.get(key)
            is_first = batch is None or not batch.is_open
            if batch is None or is_first:
                batch = self._newest[key] = _Batch(batch)
            index = len(batch.items)
            batch.items.append(item)
        if is_first:
            self._run(key, batch, process)
        batch.done.wait()
        if batch.error is not None:
            raise batch.error
        result: _Result = batch.results[index]
        return result

    def _run(self, key: Hashable, batch: _Batch, process: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
        if batch.previous is not None:
            batch.previous.done.wait()
            batch.previous = None
        with self._lock:
            batch.is_open = False
        metrics.claims_coalesced(len(batch.items))
        try:
            batch.results = process(batch.items)
        except Exception as error:  # noqa: BLE001 submit raises it for each item
            batch.error = error
        finally:
            with self._lock:
                if self._newest[key] is batch:
                    del self._newest[key]
            batch.done.set()
