"""Receivers of webhooks: an HTTP server that records requests, and a TCP server that breaks the rules."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any, Self

import orjson
from aiohttp import web

from promo_api.dev.ports import listen
from promo_api.dev.processes import wait_until
from tests.loop_server import LoopServer

_WAIT_S = 30
_HOST = "127.0.0.1"
Respond = Callable[["Receiver", web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Received:
    """A request: its headers in lower case, path and body."""

    headers: dict[str, str]
    path: str
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        """The event in the body."""
        event: dict[str, Any] = orjson.loads(self.body)
        return event


async def accept(_receiver: "Receiver", _request: web.Request) -> web.StreamResponse:
    """Respond with success."""
    return web.Response(status=204)


async def hang(receiver: "Receiver", _request: web.Request) -> web.StreamResponse:
    """Respond with success, but not before the receiver is released."""
    await receiver.released.wait()
    return web.Response(status=204)


def hang_after(count: int) -> Respond:
    """Return a function that responds with success, but to later requests not before the receiver is released."""

    async def respond(receiver: "Receiver", request: web.Request) -> web.StreamResponse:
        return await (hang if len(receiver.requests) > count else accept)(receiver, request)

    return respond


def with_status(status: int, **headers: str) -> Respond:
    """Return a function that responds with a status."""

    async def respond(_receiver: "Receiver", _request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={name.replace("_", "-"): text for name, text in headers.items()})

    return respond


class Receiver(LoopServer):
    """An HTTP server in a thread. `respond` may be changed while it runs."""

    def __init__(self, respond: Respond = accept, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(asyncio.new_event_loop())
        self.respond = respond
        self.requests: list[Received] = []
        self._tls = tls
        self._socket = listen(_HOST, None)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{_HOST}:{self.port}/hook"

    def __exit__(self, *error: object) -> None:
        """Release the requests that hang, and stop it."""
        self.release()
        super().__exit__(*error)

    def release(self) -> None:
        """Let hanging requests end."""
        self._loop.call_soon_threadsafe(self.released.set)

    def wait_for(self, count: int) -> None:
        """Wait until it has received at least this number of requests."""
        assert wait_until(lambda: len(self.requests) >= count, _WAIT_S), len(self.requests)

    @property
    def event_ids(self) -> list[str]:
        """The ids of the events, in the order of the requests."""
        return [request.headers["webhook-id"] for request in self.requests]

    async def _start(self) -> None:
        self.released = asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._receive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket, ssl_context=self._tls).start()

    async def _stop(self) -> None:
        await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append(Received({k.lower(): v for k, v in request.headers.items()}, request.path, body))
        return await self.respond(self, request)


class RawReceiver:
    """A TCP server that reads each request, and lets a function write anything. It closes the connection after it."""

    def __init__(self, reply: Callable[[socket.socket, Event], None]) -> None:
        self._reply = reply
        self._socket = listen(_HOST, None)
        self.url = f"http://{_HOST}:{self._socket.getsockname()[1]}/"
        self.ended = Event()
        self.connections = 0
        self._threads = [Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        """Start it."""
        self._threads[0].start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop it."""
        self.ended.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(_WAIT_S)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.connections += 1
                thread = Thread(target=self._serve, args=[connection], daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(_WAIT_S)
            connection.recv(65536)
            self._reply(connection, self.ended)
