"""Clients that are too slow, on a connection whose clock the test sets: cut, and told so where nothing else is due."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter
from typing import Any

import pytest
import uvloop
from starlette.exceptions import HTTPException
from uvicorn import Config
from uvicorn.server import ServerState

from promo_api.contract.patience import cut_hoarders
from promo_api.contract.protocol import StrictHttpProtocol
from promo_api.sandbox.processes import wait_until

TIMEOUT_S = 30
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
BROKEN = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
LARGE = 8 * 1024 * 1024
Main = Callable[["Connection"], Awaitable[None]]


class Application:
    """Answers with as many bytes as it is told to, once it has been sent all of a body, or at once."""

    def __init__(self) -> None:
        self.size_bytes, self.reads, self.disconnected = 2, True, 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        await self.may_answer.wait()
        more = self.reads
        while more:
            message = await receive()
            self.disconnected += message["type"] == "http.disconnect"
            if self.disconnected:
                raise HTTPException(400)
            more = message["more_body"]
        headers = [(b"content-length", b"%d" % self.size_bytes)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * self.size_bytes})


class Connection:
    """Both ends of a connection."""

    def __init__(self, client: socket.socket, protocol: StrictHttpProtocol, application: Application) -> None:
        self._client, self.protocol, self.application = client, protocol, application

    def send(self, data: bytes) -> None:
        """Have the server read bytes."""
        self.protocol.data_received(data)

    async def receive(self) -> bytes:
        """Return what comes next; nothing: the connection has ended."""
        async with asyncio.timeout(10):
            return await asyncio.get_running_loop().sock_recv(self._client, 65536)

    async def refusal(self) -> dict[str, Any]:
        """Return what a refusal says, which is the last that comes."""
        head, _, body = (await self.receive()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert b"\r\nconnection: close\r\n" in head
        assert await self.receive() == b""
        told: dict[str, Any] = json.loads(body)
        return told

    def look(self, seconds: float) -> None:
        """Look whether it is too slow, so many seconds from now."""
        self.protocol.cut_if_slow(perf_counter() + seconds, TIMEOUT_S)

    @property
    def is_open(self) -> bool:
        """Tell whether the server would still read."""
        return not self.protocol.transport.is_closing()


@asynccontextmanager
async def _connected(keep_alive_s: int) -> AsyncIterator[Connection]:
    client, server = socket.socketpair()
    with client:
        client.setblocking(False)  # noqa: FBT003 the standard library's
        application = Application()
        config = Config(application, log_config=None, timeout_keep_alive=keep_alive_s)
        _, protocol = await asyncio.get_running_loop().connect_accepted_socket(
            lambda: StrictHttpProtocol(config, ServerState(), {}), server
        )
        yield Connection(client, protocol, application)
        protocol.transport.abort()


def _run(main: Main, keep_alive_s: int = 75) -> None:
    async def connected() -> None:
        async with _connected(keep_alive_s) as connection:
            await main(connection)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(connected())


@pytest.mark.parametrize("sent", [b"G", GET[:-2], HEAD, HEAD + b"123456789"])
def test_request_without_an_end(sent: bytes) -> None:
    """A request whose end does not come is 408, be it the head or the body that is missing, and not a moment before."""

    async def main(connection: Connection) -> None:
        connection.send(sent)
        connection.look(TIMEOUT_S - 1)
        assert connection.is_open
        connection.look(TIMEOUT_S + 1)
        assert (await connection.refusal())["status"] == "error"
        assert connection.application.disconnected <= 1

    _run(main)


def test_request_in_drops() -> None:
    """The time counts from the first byte on, however often another one comes, and anew with each request."""

    async def main(connection: Connection) -> None:
        for byte in GET[:-1]:
            connection.send(bytes([byte]))
            connection.look(TIMEOUT_S - 1)
        connection.send(GET[-1:])
        assert (await connection.receive()).endswith(b"xx")
        connection.look(10 * TIMEOUT_S)
        assert connection.is_open
        connection.send(HEAD + b"123456789")
        connection.look(TIMEOUT_S - 1)
        assert connection.is_open
        connection.look(TIMEOUT_S + 1)
        await connection.refusal()

    _run(main)


@pytest.mark.parametrize("before", [b"", GET])
def test_empty_lines(before: bytes) -> None:
    """Empty lines in place of a request do not hold a connection, before the first one or after it."""

    async def main(connection: Connection) -> None:
        if before:
            connection.send(before)
            assert await connection.receive()
        connection.send(b"\r\n")
        connection.look(TIMEOUT_S + 1)
        assert await connection.receive() == b""

    _run(main)


@pytest.mark.parametrize("sent", [b"", GET])
def test_silence(sent: bytes) -> None:
    """Over a connection nothing needs to come for as long as one is kept between requests, not even a first byte."""

    async def main(connection: Connection) -> None:
        if sent:
            connection.send(sent)
            assert await connection.receive()
        connection.look(10 * TIMEOUT_S)
        assert connection.is_open
        assert await connection.receive() == b""

    _run(main, keep_alive_s=1)


def test_body_that_nobody_reads() -> None:
    """A request that was answered before its body had come is not answered again when that does not come."""

    async def main(connection: Connection) -> None:
        connection.application.reads = False
        connection.send(HEAD)
        assert (await connection.receive()).startswith(b"HTTP/1.1 200")
        connection.look(TIMEOUT_S + 1)
        assert await connection.receive() == b""

    _run(main)


def test_slow_service() -> None:
    """What takes the service long is not the client's fault, nor is what it can't read meanwhile."""

    async def main(connection: Connection) -> None:
        connection.application.may_answer.clear()
        connection.send(GET + GET[:-2])
        connection.look(10 * TIMEOUT_S)
        connection.send(GET[-2:])
        assert connection.protocol.flow.read_paused
        connection.look(10 * TIMEOUT_S)
        assert connection.is_open
        connection.application.may_answer.set()
        assert (await connection.receive()).startswith(b"HTTP/1.1 200")

    _run(main)


def test_body_that_is_not_read_yet() -> None:
    """A large body waits until somebody reads it; how long that takes does not count, and what comes after it does."""

    async def main(connection: Connection) -> None:
        connection.application.may_answer.clear()
        connection.send(HEAD.replace(b"10", b"200000") + b"x" * 100_000)
        assert connection.protocol.flow.read_paused
        connection.look(10 * TIMEOUT_S)
        assert connection.is_open
        connection.application.may_answer.set()
        assert await asyncio.to_thread(wait_until, lambda: not connection.protocol.flow.read_paused, 10)
        connection.look(11 * TIMEOUT_S - 1)
        assert connection.is_open
        connection.look(11 * TIMEOUT_S + 1)
        await connection.refusal()

    _run(main)


def test_answer_that_nobody_takes() -> None:
    """An answer that is not taken does not stay in memory."""

    async def main(connection: Connection) -> None:
        connection.application.size_bytes = LARGE
        connection.send(GET)
        assert await asyncio.to_thread(wait_until, connection.protocol.transport.get_write_buffer_size, 10)
        for seconds in (0, TIMEOUT_S - 1):
            connection.look(seconds)
            assert connection.is_open
        connection.look(TIMEOUT_S + 1)
        assert not connection.is_open
        taken_bytes = 0
        while part := await connection.receive():
            taken_bytes += len(part)
        assert taken_bytes < LARGE

    _run(main)


def test_answer_that_is_taken_in_parts() -> None:
    """Who takes some of it each time gets all of it."""

    async def main(connection: Connection) -> None:
        connection.application.size_bytes = LARGE
        connection.send(GET)
        taken_bytes = 0
        for turn in range(1, 100):
            connection.look(turn * (TIMEOUT_S - 1))
            for _ in range(8):
                taken_bytes += len(await connection.receive()) if taken_bytes < LARGE else 0
        assert LARGE < taken_bytes < LARGE + 1000
        assert connection.is_open

    _run(main)


@pytest.mark.parametrize(
    ("most_bytes", "left"), [(7 * LARGE, [True, True, True]), (LARGE, [True, False, True]), (0, [False, False, False])]
)
def test_answers_that_take_all_memory(most_bytes: int, left: list[bool]) -> None:
    """Of those who together let more wait than there is room for, who lets most wait is cut first, and nobody else."""

    async def main() -> None:
        async with AsyncExitStack() as stack:
            connections = [await stack.enter_async_context(_connected(75)) for _ in left]
            for connection, size_bytes in zip(connections, [LARGE // 4, 2 * LARGE, LARGE // 2], strict=True):
                connection.application.size_bytes = size_bytes
                connection.send(GET)
                waiting = connection.protocol.transport.get_write_buffer_size
                assert await asyncio.to_thread(wait_until, waiting, 10)
            cut_hoarders([connection.protocol for connection in connections], most_bytes)
            assert [connection.is_open for connection in connections] == left

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@pytest.mark.parametrize("sent", [GET, GET * 3, BROKEN])
def test_answer_that_comes_after_the_end(caplog: pytest.LogCaptureFixture, sent: bytes) -> None:
    """Where the connection has ended nothing is written to it, whichever request it is for, and that is no failure."""

    async def main(connection: Connection) -> None:
        connection.application.reads = False
        connection.application.may_answer.clear()
        connection.send(sent)
        if sent != BROKEN:
            connection.protocol.transport.abort()
        while await connection.receive():
            pass
        connection.application.may_answer.set()
        await asyncio.gather(*connection.protocol.tasks)
        assert not connection.is_open

    _run(main)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
