"""A server in an event loop, in a thread of a test or a benchmark."""

import asyncio
from abc import ABC, abstractmethod
from threading import Event, Thread
from typing import Self

_WAIT_S = 30


class LoopServer(ABC):
    """A subclass starts and stops the server in the loop; `url` may be used then."""

    url: str

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._started = Event()
        self._thread = Thread(target=lambda: loop.run_until_complete(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        """Start it."""
        self._thread.start()
        assert self._started.wait(_WAIT_S)
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop it."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(_WAIT_S)
        self._loop.close()

    async def _serve(self) -> None:
        self._ended = asyncio.Event()
        await self._start()
        self._started.set()
        await self._ended.wait()
        await self._stop()

    @abstractmethod
    async def _start(self) -> None:
        """Start the server."""

    @abstractmethod
    async def _stop(self) -> None:
        """Stop the server."""
