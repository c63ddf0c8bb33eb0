"""Thread pools: one hop from the event loop to a handler's thread, through Flask, and back with the whole response.

Connexion uses a2wsgi for this: ten threads, and several hops to pass a request and its response in pieces. Here the
request has been read before, so there is one hop each way.

A request that has to wait does so in a `FairQueue`, on the event loop. It is refused with 503, before any work is done,
when the queue is full or when it has waited for too long. It does not start once its client has disconnected.
"""

import asyncio
import contextvars
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Lock, Thread
from time import monotonic

from starlette.types import Receive, Scope, Send

from promo_api.contract.fair_queue import FairQueue, Source
from promo_api.contract.sender import CONNECTION
from promo_api.contract.wsgi import Response, run_wsgi
from promo_api.errors import Overloaded

# Python runs one thread at a time. Each further thread that is ready to run costs wake-ups: with eight of them, up to
# half of the cost of a short request. Three keep Python busy while PostgreSQL works for some of them.
_ACTIVE_THREADS = 3
# A thread that needs longer for a request is blocked: by a lock, the anti-fraud service, a password hash.
_BLOCKED_AFTER_S = 0.05
_TICK_S = 0.05
# The share of an account or client address stays taken until its client has read a larger response.
_SMALL_RESPONSE_BYTES = 64 * 1024


@dataclass(frozen=True)
class PoolLimits:
    """The limits of a pool.

    Attributes:
        threads: requests that run at the same time.
        places: requests that wait.
        member_places: requests of one member of a group that wait.
        wait_s: how long a request waits.
        prefetched: requests that are handed over before a thread is free, so that no thread waits for the event loop.
            They do not take turns any more, so slow operations have none.
    """

    threads: int
    places: int
    member_places: int
    wait_s: float
    prefetched: int = 0


class _Request:
    """A request on its way through a pool.

    Attributes:
        outcome: a response or an exception; None: the client disconnected before the request started.
        began_s: when a thread started it, by time.monotonic; None: no thread has.
    """

    __slots__ = ("_claimed", "began_s", "context", "expires_s", "outcome", "scope", "source")

    def __init__(self, scope: Scope, source: Source, wait_s: float) -> None:
        self.scope = scope
        self.source = source
        self.context = contextvars.copy_context()
        self.outcome: asyncio.Future[Response | Exception | None] = asyncio.get_running_loop().create_future()
        self.expires_s = monotonic() + wait_s
        self.began_s: float | None = None
        self._claimed = Lock()

    def claim(self) -> bool:
        """Return True for one caller: the thread that starts the request, or the event loop that refuses it."""
        return self._claimed.acquire(blocking=False)

    def settle(self, outcome: Response | Exception | None) -> None:
        """Pass the outcome to the coroutine that waits for it, unless that was cancelled."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    @property
    def is_abandoned(self) -> bool:
        """Whether there is no client for the response any more."""
        connection = self.scope["extensions"].get(CONNECTION)
        return self.outcome.cancelled() or (connection is not None and connection.is_closing())


class ThreadPool:
    """Runs a WSGI application in threads.

    A few threads are active. For each thread that is blocked there is one more, up to the limit, while requests wait.

    Args:
        name: of the pool, for `on_refusal`.
        wsgi_app: what responds.
        limits: of threads and of the queue.
        on_refusal: called with the name of the pool and a word for the reason, `full` or `timeout`.
    """

    def __init__(
        self,
        name: str,
        wsgi_app: Callable[..., Iterable[bytes]],
        limits: PoolLimits,
        on_refusal: Callable[[str, str], None],
    ) -> None:
        self._name = name
        self._wsgi_app = wsgi_app
        self._limits = limits
        self._on_refusal = on_refusal
        self._queue: FairQueue[_Request] = FairQueue(limits.places, limits.member_places)
        # The same requests as in the queue, in the order of arrival.
        self._waiting: dict[_Request, None] = {}
        self._handed_over: SimpleQueue[_Request | None] = SimpleQueue()
        # Requests that were handed over, until a thread is done with them.
        self._unfinished: set[_Request] = set()
        self._threads: list[Thread] = []
        # The number of threads, without threads that are about to end.
        self._size = 0
        self._ticks = False
        # Threads that are active if none is blocked, and requests that are handed over without a look at the threads.
        self._active = min(limits.threads, _ACTIVE_THREADS)
        self._free = self._active + limits.prefetched

    async def respond(self, scope: Scope, receive: Receive, send: Send, source: Source) -> None:
        """Respond to a request; exceptions of the handler are raised here.

        Raises:
            Overloaded: the queue is full, or the request has waited for too long.
        """
        request = _Request(scope, source, self._limits.wait_s)
        if len(self._unfinished) < self._free and self._queue.start(source):
            self._start(request)
            if self._size < min(self._active, len(self._unfinished)):
                self._start_thread()
            self._tick_later()
        else:
            self._enqueue(request)
        outcome = await request.outcome
        if outcome is None:
            await _wait_for_disconnect(receive)
        elif isinstance(outcome, Exception):
            raise outcome
        else:
            await self._send(request, outcome, send)

    def close(self) -> None:
        """Wait for the requests that run, and end the threads."""
        while self._size:
            self._end_thread()
        while self._threads:
            self._threads.pop().join()

    async def _send(self, request: _Request, response: Response, send: Send) -> None:
        status, headers, body = response
        is_large = _is_large(response)
        try:
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body, "more_body": is_large})
            if is_large:
                # The server takes this once the client has read nearly all of the body.
                await send({"type": "http.response.body", "body": b""})
        finally:
            if is_large:
                self._release(request)

    def _enqueue(self, request: _Request) -> None:
        removed = self._queue.push(request, request.source)
        self._waiting[request] = None
        if removed is not None:
            self._refuse(removed, "full")
        self._hand_over()

    def _start(self, request: _Request) -> None:
        self._unfinished.add(request)
        self._handed_over.put(request)

    def _hand_over(self) -> None:
        """Hand over as many requests as the threads can take, and have a thread for each."""
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
        """Look again soon, if a request waits."""
        if not self._ticks and (self._waiting or len(self._unfinished) > self._size):
            self._ticks = True
            asyncio.get_running_loop().call_later(_TICK_S, self._tick)

    def _tick(self) -> None:
        """Refuse requests that have waited for too long, and look for blocked threads again."""
        self._ticks = False
        now_s = monotonic()
        while self._waiting and (request := next(iter(self._waiting))).expires_s <= now_s:
            self._queue.remove(request, request.source)
            self._refuse(request, "timeout")
        for request in [*self._unfinished]:
            if request.expires_s <= now_s and request.claim():
                self._refuse(request, "timeout")
        self._hand_over()

    def _refuse(self, request: _Request, reason: str) -> None:
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
        # Not before the first request: a thread does not outlive the fork into a worker.
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
                outcome = request.context.run(self._respond, request.scope)
            with suppress(RuntimeError):  # the event loop has ended
                request.outcome.get_loop().call_soon_threadsafe(self._settle, request, outcome)

    def _settle(self, request: _Request, outcome: Response | Exception | None) -> None:
        self._unfinished.remove(request)
        will_be_sent = not request.outcome.done()
        request.settle(outcome)
        if self._size > _ACTIVE_THREADS and self._size - self._count_blocked() > _ACTIVE_THREADS:
            self._end_thread()
        if will_be_sent and isinstance(outcome, tuple) and _is_large(outcome):
            self._hand_over()
        else:
            self._release(request)

    def _release(self, request: _Request) -> None:
        """Give the request's share of the pool back to its group."""
        self._queue.finish(request.source)
        self._hand_over()

    def _respond(self, scope: Scope) -> Response | Exception:
        try:
            return run_wsgi(self._wsgi_app, scope)
        except Exception as error:  # noqa: BLE001 raised again where the request waits
            return error


def _is_large(response: Response) -> bool:
    return len(response[2]) > _SMALL_RESPONSE_BYTES


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
