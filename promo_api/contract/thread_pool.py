"""A thread pool for handlers, with a `FairQueue`.

A full queue or a timeout is a 503. A large response holds its group's share until the client has read it.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from time import monotonic

from starlette.types import Receive, Scope, Send

from promo_api.contract.fair_queue import FairQueue, Source
from promo_api.contract.pooled_request import (
    PooledRequest,
    Response,
    RunResult,
    abort,
    is_large,
    send_response,
    wait_for_disconnect,
)
from promo_api.contract.streams import ClientDisconnected, StreamAborted, StreamedResponse
from promo_api.errors import Overloaded

# Python runs one thread at a time: eight make a short request twice as expensive, three suffice while PostgreSQL works.
_ACTIVE_THREADS = 3
# After this time a thread counts as blocked, by a lock or a password hash.
_BLOCKED_AFTER_S = 0.05
_TICK_S = 0.05


@dataclass(frozen=True)
class PoolLimits:
    """The limits of a pool.

    Attributes:
        threads: running requests.
        places: waiting requests.
        member_places: of one member.
        wait_s: the longest wait.
        prefetched: handed over before a thread is free. These do not take turns, so slow pools have none.
    """

    threads: int
    places: int
    member_places: int
    wait_s: float
    prefetched: int = 0


class ThreadPool:
    """Runs requests in a few active threads.

    While requests wait, each blocked thread gets a substitute, up to the limit. `on_refusal` gets the name and the
    reason, `full` or `timeout`.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[Scope], RunResult],
        limits: PoolLimits,
        on_refusal: Callable[[str, str], None],
    ) -> None:
        self._name = name
        self._run = run
        self._limits = limits
        self._on_refusal = on_refusal
        self._queue: FairQueue[PooledRequest] = FairQueue(limits.places, limits.member_places)
        # In the order of arrival.
        self._waiting: dict[PooledRequest, None] = {}
        self._handed_over: SimpleQueue[PooledRequest | None] = SimpleQueue()
        # Handed over and not finished.
        self._unfinished: set[PooledRequest] = set()
        self._threads: list[Thread] = []
        # Threads that are not about to end.
        self._size = 0
        self._ticks = False
        # The limits of threads and of unfinished requests while no thread is blocked.
        self._active = min(limits.threads, _ACTIVE_THREADS)
        self._free = self._active + limits.prefetched

    async def respond(self, scope: Scope, receive: Receive, send: Send, source: Source) -> None:
        """Respond to a request; raises Overloaded, and exceptions of the handler."""
        request = PooledRequest(scope, send, source, self._limits.wait_s)
        if len(self._unfinished) < self._free and self._queue.start(source):
            self._start(request)
            if self._size < min(self._active, len(self._unfinished)):
                self._start_thread()
            self._tick_later()
        else:
            self._enqueue(request)
        try:
            outcome = await request.outcome
            if outcome is None or isinstance(outcome, ClientDisconnected):
                await wait_for_disconnect(receive)
            elif isinstance(outcome, StreamAborted):
                await abort(scope, receive)
            elif isinstance(outcome, Exception):
                raise outcome
            else:
                await send_response(outcome, send)
        finally:
            if request.holds_share:
                self._release(request)

    def close(self) -> None:
        """Wait for running requests, and end the threads."""
        while self._size:
            self._end_thread()
        while self._threads:
            self._threads.pop().join()

    def _enqueue(self, request: PooledRequest) -> None:
        removed = self._queue.push(request, request.source)
        self._waiting[request] = None
        if removed is not None:
            self._refuse(removed, "full")
        self._hand_over()

    def _start(self, request: PooledRequest) -> None:
        self._unfinished.add(request)
        self._handed_over.put(request)

    def _hand_over(self) -> None:
        """Hand over requests, and start missing threads."""
        if not self._waiting and len(self._unfinished) <= self._size:
            return
        threads = min(self._limits.threads, self._count_blocked() + _ACTIVE_THREADS)
        while self._queue.has_next and len(self._unfinished) < threads + self._limits.prefetched:
            request = self._queue.pop()
            if request is None:
                break
            del self._waiting[request]
            if request.is_abandoned:
                request.settle(None)
                self._queue.finish(request.source)
            else:
                self._start(request)
        while self._size < min(threads, len(self._unfinished)):
            self._start_thread()
        self._tick_later()

    def _tick_later(self) -> None:
        if not self._ticks and (self._waiting or len(self._unfinished) > self._size):
            self._ticks = True
            asyncio.get_running_loop().call_later(_TICK_S, self._tick)

    def _tick(self) -> None:
        """Refuse expired requests, and count blocked threads again."""
        self._ticks = False
        now_s = monotonic()
        while self._waiting and (request := next(iter(self._waiting))).expires_s <= now_s:
            self._queue.remove(request, request.source)
            self._refuse(request, "timeout")
        for request in [*self._unfinished]:
            if request.expires_s <= now_s and request.claim():
                self._refuse(request, "timeout")
        self._hand_over()

    def _refuse(self, request: PooledRequest, reason: str) -> None:
        self._waiting.pop(request, None)
        if request.is_abandoned:
            request.settle(None)
            return
        self._on_refusal(self._name, reason)
        request.settle(Overloaded("The service is busy. Try again in a moment."))

    def _count_blocked(self) -> int:
        blocked_since_s = monotonic() - _BLOCKED_AFTER_S
        return sum(request.began_s is not None and request.began_s < blocked_since_s for request in self._unfinished)

    def _start_thread(self) -> None:
        # Not before the first request: threads do not survive a fork.
        self._size += 1
        thread = Thread(target=self._work, name="handler", daemon=True)
        thread.start()
        self._threads = [*filter(Thread.is_alive, self._threads), thread]

    def _end_thread(self) -> None:
        self._size -= 1
        self._handed_over.put(None)

    def _work(self) -> None:
        while (request := self._handed_over.get()) is not None:
            outcome = None
            if request.claim():
                request.began_s = monotonic()
                outcome = request.context.run(self._respond, request)
            with suppress(RuntimeError):  # the event loop has ended
                request.outcome.get_loop().call_soon_threadsafe(self._settle, request, outcome)

    def _settle(self, request: PooledRequest, outcome: Response | Exception | None) -> None:
        self._unfinished.remove(request)
        request.holds_share = not request.outcome.done() and isinstance(outcome, tuple) and is_large(outcome)
        request.settle(outcome)
        if self._size > _ACTIVE_THREADS and self._size - self._count_blocked() > _ACTIVE_THREADS:
            self._end_thread()
        if request.holds_share:
            self._hand_over()
        else:
            self._release(request)

    def _release(self, request: PooledRequest) -> None:
        """Give the share back to the group."""
        self._queue.finish(request.source)
        self._hand_over()

    def _respond(self, request: PooledRequest) -> Response | Exception | None:
        try:
            status, headers, body = self._run(request.scope)
            if isinstance(body, StreamedResponse):
                return request.send_stream(status, headers, body)
        except Exception as error:  # noqa: BLE001 raised again by `respond`
            return error
        return status, headers, body
