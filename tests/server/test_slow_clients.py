"""Slow clients are cut, with a 408 if no response has started. The test sets the clock of the connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from promo_api.dev.processes import wait_until
from promo_api.server.slow_clients import UnreadLimit
from tests.server.connection import BROKEN, GET, HEAD, LARGE, TIMEOUT_S, Connection, connected, run, run_alone


@pytest.mark.parametrize("sent", [b"G", GET[:-2], HEAD, HEAD + b"123456789"])
def test_incomplete_request_gets_408(sent: bytes) -> None:
    """A request without the rest of its head or body gets 408 after the time limit, and not before."""

    async def main(connection: Connection) -> None:
        connection.send(sent)
        connection.check_after(TIMEOUT_S - 1)
        assert connection.is_open
        connection.check_after(TIMEOUT_S + 1)
        assert (await connection.refusal())["status"] == "error"
        assert connection.application.disconnected <= 1

    run(main)


def test_request_sent_byte_by_byte() -> None:
    """The time limit starts with the first byte of each request, and more bytes do not extend it."""

    async def main(connection: Connection) -> None:
        for byte in GET[:-1]:
            connection.send(bytes([byte]))
            connection.check_after(TIMEOUT_S - 1)
        connection.send(GET[-1:])
        assert (await connection.receive()).endswith(b"xx")
        connection.check_after(10 * TIMEOUT_S)
        assert connection.is_open
        connection.send(HEAD + b"123456789")
        connection.check_after(TIMEOUT_S - 1)
        assert connection.is_open
        connection.check_after(TIMEOUT_S + 1)
        await connection.refusal()

    run(main)


@pytest.mark.parametrize("before", [b"", GET])
def test_empty_lines(before: bytes) -> None:
    """Empty lines do not keep a connection open, before the first request or after it."""

    async def main(connection: Connection) -> None:
        if before:
            connection.send(before)
            assert await connection.receive()
        connection.send(b"\r\n")
        connection.check_after(TIMEOUT_S + 1)
        assert await connection.receive() == b""

    run(main)


@pytest.mark.parametrize("sent", [b"", GET])
def test_idle_connection(sent: bytes) -> None:
    """An idle connection stays open for the keep-alive time, also before its first request."""

    async def main(connection: Connection) -> None:
        if sent:
            connection.send(sent)
            assert await connection.receive()
        connection.check_after(10 * TIMEOUT_S)
        assert connection.is_open
        assert await connection.receive() == b""

    run(main, keep_alive_s=1)


def test_missing_body_after_the_response() -> None:
    """If a request got its response before its body, a missing body closes the connection without a 408."""

    async def main(connection: Connection) -> None:
        connection.application.reads = False
        connection.send(HEAD)
        assert (await connection.receive()).startswith(b"HTTP/1.1 200")
        connection.check_after(TIMEOUT_S + 1)
        assert await connection.receive() == b""

    run(main)


def test_processing_time_does_not_count() -> None:
    """The time limit of a client does not include time in which the server processes or does not read."""

    async def main(connection: Connection) -> None:
        connection.application.may_respond.clear()
        connection.send(GET + GET[:-2])
        connection.check_after(10 * TIMEOUT_S)
        connection.send(GET[-2:])
        assert connection.protocol.flow.read_paused
        connection.check_after(10 * TIMEOUT_S)
        assert connection.is_open
        connection.application.may_respond.set()
        assert (await connection.receive()).startswith(b"HTTP/1.1 200")

    run(main)


def test_unread_body_does_not_count() -> None:
    """The time until the application reads a large body does not count; the time for the rest of it does."""

    async def main(connection: Connection) -> None:
        connection.application.may_respond.clear()
        connection.send(HEAD.replace(b"10", b"200000") + b"x" * 100_000)
        assert connection.protocol.flow.read_paused
        connection.check_after(10 * TIMEOUT_S)
        assert connection.is_open
        connection.application.may_respond.set()
        assert await asyncio.to_thread(wait_until, lambda: not connection.protocol.flow.read_paused, 10)
        connection.check_after(11 * TIMEOUT_S - 1)
        assert connection.is_open
        connection.check_after(11 * TIMEOUT_S + 1)
        await connection.refusal()

    run(main)


def test_unread_response_is_dropped() -> None:
    """A response that the client does not read is dropped after the time limit."""

    async def main(connection: Connection) -> None:
        connection.application.size_bytes = LARGE
        connection.send(GET)
        assert await asyncio.to_thread(wait_until, connection.protocol.transport.get_write_buffer_size, 10)
        for seconds in (0, TIMEOUT_S - 1):
            connection.check_after(seconds)
            assert connection.is_open
        connection.check_after(TIMEOUT_S + 1)
        assert not connection.is_open
        taken_bytes = 0
        while part := await connection.receive():
            taken_bytes += len(part)
        assert taken_bytes < LARGE

    run(main)


def test_client_that_reads_steadily() -> None:
    """A client that reads steadily gets the whole response."""

    async def main(connection: Connection) -> None:
        connection.application.size_bytes = LARGE
        connection.send(GET)
        taken_bytes = 0
        for turn in range(1, 100):
            connection.check_after(turn * (TIMEOUT_S - 1))
            for _ in range(8):
                taken_bytes += len(await connection.receive()) if taken_bytes < LARGE else 0
        assert LARGE < taken_bytes < LARGE + 1000
        assert connection.is_open

    run(main)


SIZES = [LARGE // 4, 2 * LARGE, LARGE // 2]


@asynccontextmanager
async def _unread() -> AsyncIterator[list[Connection]]:
    """Open connections with unread responses of these sizes."""
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(connected()) for _ in SIZES]
        for connection, size_bytes in zip(connections, SIZES, strict=True):
            connection.application.size_bytes = size_bytes
            connection.send(GET)
            unread = connection.protocol.transport.get_write_buffer_size
            assert await asyncio.to_thread(wait_until, unread, 10)
        yield connections


async def _read(connection: Connection) -> None:
    """Read some of a response, and have the server send more."""
    before_bytes = connection.protocol.unread_bytes
    while before_bytes and connection.protocol.unread_bytes == before_bytes:
        await connection.receive()


@pytest.mark.parametrize(
    ("max_bytes", "left"),
    [(7 * LARGE, [True, True, True]), (LARGE, [True, False, True]), (1, [False, False, False])],
)
def test_unread_responses_of_stalled_clients(
    max_bytes: int, left: list[bool], caplog: pytest.LogCaptureFixture
) -> None:
    """Above the limit the stalled connection with the most unread bytes is closed first, and logged."""

    async def main() -> None:
        async with _unread() as connections:
            guard = UnreadLimit(max_bytes)
            for _ in range(10):
                guard.enforce([connection.protocol for connection in connections])
            # Four times the limit is not exceeded, or everything is.
            assert all(connection.is_open for connection in connections) == (max_bytes > 1)
            guard.enforce([connection.protocol for connection in connections])
            assert [connection.is_open for connection in connections] == left
            closed = [connection for connection in connections if not connection.is_open]
            assert all(connection.closed_for == ["unread"] for connection in closed)

    run_alone(main)
    dropped = [vars(record)["unread_bytes"] for record in caplog.records]
    assert {record.getMessage() for record in caplog.records} <= {"unread_response_dropped"}
    assert len(dropped) == left.count(False)
    assert all(0 < size_bytes <= max(SIZES) for size_bytes in dropped)


@pytest.mark.parametrize(("max_bytes", "left"), [(LARGE, [True, True, True]), (LARGE // 4, [True, False, True])])
def test_unread_responses_of_reading_clients(max_bytes: int, left: list[bool]) -> None:
    """A client that reads on keeps its connection, unless four times the limit is exceeded."""

    async def main() -> None:
        async with _unread() as connections:
            guard = UnreadLimit(max_bytes)
            for _ in range(12):
                guard.enforce([connection.protocol for connection in connections])
                for connection in connections:
                    if connection.is_open:
                        await _read(connection)
            assert [connection.is_open for connection in connections] == left
            assert connections[2].protocol.unread_bytes

    run_alone(main)


@pytest.mark.parametrize("sent", [GET, GET * 3, BROKEN])
def test_response_after_the_connection_has_ended(caplog: pytest.LogCaptureFixture, sent: bytes) -> None:
    """After the connection has ended, no response is written to it, and that is not logged as an error."""

    async def main(connection: Connection) -> None:
        connection.application.reads = False
        connection.application.may_respond.clear()
        connection.send(sent)
        if sent != BROKEN:
            connection.protocol.transport.abort()
        while await connection.receive():
            pass
        connection.application.may_respond.set()
        await asyncio.gather(*connection.protocol.tasks)
        assert not connection.is_open

    run(main)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
