"""Work that several threads want done under one key is done together, by one of them.

The first one who comes does the work at once, alone. Those who come while it is being done wait for their turn in one
batch, which the first of them does for all as soon as the work before it has ended. Nobody waits for anybody to come:
where one asks at a time, each batch is one item, and costs some microseconds.

A batch is as large as there are threads at most, and an item waits for no more than the work of two batches: the one
that is being done, and its own.
"""

from collections.abc import Callable, Hashable, Sequence
from threading import Event, Lock
from typing import Any, TypeVar

from promo_api import metrics

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class _Batch:
    """Items that are worked on together.

    Attributes:
        before: the batch that is worked on before this one; None: nothing is in the way.
        is_open: whether items may still join.
        finished: set once there are results, or exceptions, in the order of the items.
    """

    def __init__(self, before: "_Batch | None") -> None:
        self.before = before
        self.is_open = True
        self.finished = Event()
        self.items: list[Any] = []
        self.results: Sequence[Any] = ()


class Batches:
    """The batches of one process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._newest: dict[Hashable, _Batch] = {}

    def do(
        self,
        key: Hashable,
        item: _Item,
        work: Callable[[Sequence[_Item]], Sequence[_Result | Exception]],
    ) -> _Result:
        """Do the work for an item, together with the items of others that wait under the same key.

        Args:
            key: what can be done together.
            item: what to do.
            work: does it, given all items, and returns a result for each in their order; an exception as a result is
                raised for the one whose item it was. It must do the same whoever passes it under this key.

        Raises:
            Exception: what the work raised; then it is raised for all whose items were in it.
        """
        with self._lock:
            batch = self._newest.get(key)
            leads = batch is None or not batch.is_open
            if batch is None or leads:
                batch = self._newest[key] = _Batch(batch)
            place = len(batch.items)
            batch.items.append(item)
        if leads:
            self._lead(key, batch, work)
        batch.finished.wait()
        result: _Result | Exception = batch.results[place]
        if isinstance(result, Exception):
            raise result
        return result

    def _lead(self, key: Hashable, batch: _Batch, work: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
        if batch.before is not None:
            batch.before.finished.wait()
            batch.before = None
        with self._lock:
            batch.is_open = False
        metrics.batch_began(len(batch.items))
        try:
            batch.results = work(batch.items)
        except Exception as error:  # noqa: BLE001 raised again by everyone whose item was in it
            batch.results = [error] * len(batch.items)
        finally:
            with self._lock:
                if self._newest[key] is batch:
                    del self._newest[key]
            batch.finished.set()
