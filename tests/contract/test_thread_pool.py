"""The thread pool: handlers run in threads, and the event loop does not wait for them."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from threading import Barrier, Event, Lock, Thread, current_thread
from typing import Any

import pytest
from starlette.types import ASGIApp

from promo_api.contract import thread_pool
from promo_api.contract.flask_views import run_wsgi
from promo_api.contract.thread_pool import ThreadPool
from promo_api.dev.processes import wait_until
from tests.contract.asgi import call
from tests.contract.pools import StartResponse, http_scope, respond
from tests.contract.sample_api import contract, operation, pool_limits, serve

_word: ContextVar[str] = ContextVar("_word", default="none")


def _run(wsgi: Callable[..., Iterable[bytes]], *, requests: int = 1, threads: int = 2) -> list[list[Any]]:
    async def together() -> list[list[Any]]:
        return await asyncio.gather(*(respond(pool) for _ in range(requests)))

    pool = ThreadPool("default", partial(run_wsgi, wsgi), pool_limits(threads), lambda _pool, _reason: None)
    try:
        return asyncio.run(together())
    finally:
        pool.close()


def test_response_is_two_messages() -> None:
    """A response is two messages: status and headers, then the body."""

    def wsgi(_environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        start("201 Created", [("X-Name", "caf\xe9")])
        return [b"a", b"", b"b"]

    started, sent = _run(wsgi)[0]
    assert started == {"type": "http.response.start", "status": 201, "headers": [(b"x-name", b"caf\xe9")]}
    assert sent == {"type": "http.response.body", "body": b"ab"}


def test_view_gets_the_scope() -> None:
    """A view gets the method and the ASGI scope."""
    seen: list[dict[str, Any]] = []

    def wsgi(environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        seen.append(environ)
        start("200 OK", [])
        return []

    _run(wsgi)
    assert (seen[0]["REQUEST_METHOD"], seen[0]["PATH_INFO"]) == ("GET", "/")
    assert seen[0]["asgi.scope"] == http_scope()


def test_number_of_threads() -> None:
    """Two threads serve two requests at a time."""
    pairs, lock = Barrier(2, timeout=10), Lock()
    running, most, threads = 0, 0, Counter[Thread]()

    def wsgi(_environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            threads[current_thread()] += 1
        pairs.wait()
        with lock:
            running -= 1
        start("200 OK", [])
        return []

    assert len(_run(wsgi, requests=6)) == 6
    assert most == 2
    assert len(threads) == 2
    assert all(thread.name == "handler" for thread in threads)


def _turns(pairs: Barrier, most: list[int]) -> Callable[..., Iterable[bytes]]:
    """Return a WSGI application that responds when the barrier is full, and records the highest concurrency."""
    lock, running = Lock(), [0]

    def wsgi(_environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        with lock:
            running[0] += 1
            most.append(running[0])
        pairs.wait()
        with lock:
            running[0] -= 1
        start("200 OK", [])
        return []

    return wsgi


def test_three_threads_are_active(monkeypatch: pytest.MonkeyPatch) -> None:
    """While no thread is blocked, three threads serve all requests."""
    monkeypatch.setattr(thread_pool, "_BLOCKED_AFTER_S", 60)
    most: list[int] = []
    assert len(_run(_turns(Barrier(3, timeout=10), most), requests=12, threads=8)) == 12
    assert max(most) == 3


def test_blocked_threads_get_substitutes(monkeypatch: pytest.MonkeyPatch, make_pool: Callable[..., ThreadPool]) -> None:
    """Each blocked thread gets a substitute, up to the limit; surplus threads end."""
    monkeypatch.setattr(thread_pool, "_BLOCKED_AFTER_S", 0.01)
    most: list[int] = []
    barrier = Barrier(8, timeout=10)
    pool = make_pool(_turns(barrier, most), pool_limits(8))

    async def together(requests: int) -> None:
        await asyncio.gather(*(respond(pool) for _ in range(requests)))

    async def first_many_then_one_by_one() -> None:
        await together(8)
        assert len(pool._threads) == 8
        pool._run = partial(run_wsgi, _turns(Barrier(1), []))
        for _ in range(8):
            await together(1)

    asyncio.run(first_many_then_one_by_one())
    assert max(most) == 8
    assert wait_until(lambda: sum(thread.is_alive() for thread in pool._threads) == 3, 10)


def test_context_reaches_the_thread() -> None:
    """Context variables of the event loop reach the handler."""
    words: list[str] = []

    def wsgi(_environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        words.append(_word.get())
        start("200 OK", [])
        return []

    token = _word.set("of this request")
    try:
        _run(wsgi)
    finally:
        _word.reset(token)
    assert words == ["of this request"]


class _Closing(list[bytes]):
    """A response that counts its `close`."""

    closed = False

    def close(self) -> None:
        """Record the call."""
        self.closed = True


def test_response_iterable_is_closed() -> None:
    """The iterable of a WSGI response is closed after it was read."""
    body = _Closing([b"x"])

    def wsgi(_environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        start("200 OK", [])
        return body

    _run(wsgi)
    assert body.closed


def test_exceptions_are_raised_on_the_event_loop() -> None:
    """An exception of a handler is raised on the event loop."""

    def wsgi(_environ: dict[str, Any], _start: StartResponse) -> Iterable[bytes]:
        raise LookupError("as it was")

    with pytest.raises(LookupError, match="as it was"):
        _run(wsgi)


def test_stop_iteration_is_raised_on_the_event_loop() -> None:
    """StopIteration, which a future cannot carry, does not leave a request without a response."""

    def wsgi(_environ: dict[str, Any], _start: StartResponse) -> Iterable[bytes]:
        raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        _run(wsgi)


def test_cancelled_request_frees_its_thread(make_pool: Callable[..., ThreadPool]) -> None:
    """A request that is cancelled while its handler runs frees its thread."""
    entered, leave = Event(), Event()

    def wsgi(_environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        entered.set()
        assert leave.wait(10)
        start("200 OK", [])
        return []

    async def given_up(pool: ThreadPool) -> None:
        task = asyncio.create_task(respond(pool))
        assert await asyncio.to_thread(entered.wait, 10)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        leave.set()
        assert len(await respond(pool)) == 2

    asyncio.run(given_up(make_pool(wsgi, pool_limits(1))))


async def _lifespan(app: ASGIApp) -> list[str]:
    incoming = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[str] = []

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    return sent


def test_lifespan(tmp_path: Path) -> None:
    """The lifespan context is entered at the start of the service and left at its end."""
    events: list[str] = []

    @contextmanager
    def lifetime() -> Iterator[None]:
        events.append("begun")
        yield
        events.append("ended")

    app = serve(tmp_path / "api.yml", contract({"/x": {"get": operation()}}), lifespan=lifetime)
    assert call(app, "GET", "/api/x").status == 200
    assert events == []
    assert asyncio.run(_lifespan(app)) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert events == ["begun", "ended"]
