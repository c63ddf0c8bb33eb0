"""Both ends of a connection to the server's protocol, on a clock that the test sets."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import uvloop
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.server import ServerState

from promo_api.server.graceful_stop import HttpProtocol
from promo_api.server.pipelining import RequestScheduler

TIMEOUT_S = 30
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
BROKEN = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
LARGE = 8 * 1024 * 1024
Main = Callable[["Connection"], Awaitable[None]]


class Application:
    """Responds with `size_bytes` bytes, after it has read the body if `reads`, and not before `may_respond`."""

    def __init__(self) -> None:
        self.size_bytes, self.reads, self.disconnected, self.started = 2, True, 0, 0
        self.read_bytes = 0
        self.scope: Any = None
        self.may_respond = asyncio.Event()
        self.may_respond.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Respond to a request."""
        self.started += 1
        self.scope = scope
        await self.may_respond.wait()
        more = self.reads
        while more:
            message = await receive()
            self.disconnected += message["type"] == "http.disconnect"
            if self.disconnected:
                raise HTTPException(400)
            self.read_bytes += len(message["body"])
            more = message["more_body"]
        headers = [(b"content-length", b"%d" % self.size_bytes)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * self.size_bytes})


class Connection:
    """Both ends of a connection."""

    def __init__(self, client: socket.socket, protocol: HttpProtocol, application: Application) -> None:
        self.client, self.protocol, self.application = client, protocol, application
        self.closed_for: list[str] = []

    def send(self, data: bytes) -> None:
        """Have the server receive bytes."""
        self.protocol.data_received(data)

    async def receive(self) -> bytes:
        """Return the next bytes from the server; empty: the connection has ended."""
        async with asyncio.timeout(10):
            return await asyncio.get_running_loop().sock_recv(self.client, 65536)

    async def receive_responses(self, number: int) -> bytes:
        """Return that many responses with bodies of `xx`."""
        content = b""
        while content.count(b"\r\n\r\nxx") < number:
            part = await self.receive()
            assert part, content
            content += part
        return content

    async def refusal(self) -> dict[str, Any]:
        """Return the body of a 408, which ends the connection."""
        head, _, body = (await self.receive()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert b"\r\nconnection: close\r\n" in head
        assert await self.receive() == b""
        error: dict[str, Any] = json.loads(body)
        return error

    def check_after(self, seconds: float) -> None:
        """Check whether the client is too slow, as if it was that many seconds later."""
        self.protocol.cut_if_slow(perf_counter() + seconds, TIMEOUT_S)

    @property
    def unanswered(self) -> int:
        """The number of parsed requests without a complete response."""
        return len(self.protocol._unanswered)

    @property
    def is_open(self) -> bool:
        """Whether the server has not closed the connection."""
        return not self.protocol.transport.is_closing()


@asynccontextmanager
async def connected(
    keep_alive_s: int = 75, scheduler: RequestScheduler | None = None, app: ASGIApp | None = None
) -> AsyncIterator[Connection]:
    """Connect to a protocol, with a keep-alive of that many seconds, and with the scheduler of a worker.

    `app` replaces the application of the connection.
    """
    client, server = socket.socketpair()
    with client:
        client.setblocking(False)  # noqa: FBT003 its only parameter
        application = Application()
        config = Config(app or application, log_config=None, timeout_keep_alive=keep_alive_s)
        reasons: list[str] = []
        _, protocol = await asyncio.get_running_loop().connect_accepted_socket(
            lambda: HttpProtocol(config, ServerState(), {}, count_closed=reasons.append, scheduler=scheduler), server
        )
        connection = Connection(client, protocol, application)
        connection.closed_for = reasons
        yield connection
        protocol.transport.abort()


def run(main: Main, keep_alive_s: int = 75, app: ASGIApp | None = None) -> None:
    """Run a test on a connection, in an event loop as workers use it."""

    async def main_on_connection() -> None:
        async with connected(keep_alive_s, app=app) as connection:
            await main(connection)

    run_alone(main_on_connection)


def run_alone(main: Callable[[], Awaitable[None]]) -> None:
    """Run a test in an event loop as workers use it."""

    async def run_main() -> None:
        await main()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_main())
