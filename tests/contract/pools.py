"""Helpers for tests of thread pools."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from threading import Event, Semaphore
from typing import Any

from promo_api.contract.fair_queue import Source
from promo_api.contract.thread_pool import ThreadPool
from tests.contract.sample_api import SOURCE

StartResponse = Callable[[str, list[tuple[str, str]]], object]


def http_scope() -> dict[str, Any]:
    """Return the scope of a request."""
    return {"type": "http", "method": "GET", "scheme": "http", "extensions": {}}


class Connection:
    """A connection that a client may have closed."""

    def __init__(self) -> None:
        self.closed = False

    def is_closing(self) -> bool:
        """Return whether the client has closed the connection."""
        return self.closed


async def respond(
    pool: ThreadPool,
    source: Source = SOURCE,
    *,
    connection: Connection | None = None,
    send: Callable[[Any], Awaitable[None]] | None = None,
) -> list[Any]:
    """Send a request, and return the messages of its response."""
    messages: list[Any] = []

    async def receive() -> Any:
        assert connection is not None, "the body has been read before"
        assert connection.closed
        return {"type": "http.disconnect"}

    async def append(message: Any) -> None:
        messages.append(message)

    extensions = {} if connection is None else {"promo_api.connection": connection}
    await pool.respond(http_scope() | {"extensions": extensions}, receive, send or append, source)
    return messages


class BlockingApplication:
    """A WSGI application that blocks each request until the test releases it."""

    def __init__(self) -> None:
        self.started = Semaphore(0)
        self.release = Event()
        self.calls = 0

    def __call__(self, _environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        """Respond after the test has released the request."""
        self.calls += 1
        self.started.release()
        assert self.release.wait(10)
        start("200 OK", [])
        return []


async def wait_for_start(application: BlockingApplication, requests: int) -> None:
    """Wait until this number of requests has started."""
    for _ in range(requests):
        assert await asyncio.to_thread(application.started.acquire, timeout=10)
