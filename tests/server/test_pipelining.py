"""Pipelined requests: responses in order, few requests in memory, none started for a client that reads nothing."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from promo_api.dev.processes import wait_until
from promo_api.server.pipelining import MAX_PIPELINED, RequestScheduler
from tests.server.connection import (
    BROKEN,
    GET,
    HEAD,
    LARGE,
    TIMEOUT_S,
    Connection,
    connected,
    run,
    run_alone,
)

SMALLEST = b"GET / HTTP/1.0\r\n\r\n"
# A head whose beginning is in the piece before it, and bodies that look like heads.
PADDING = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n" + b"\r\n\r\n" * 500


async def _until(condition: Callable[[], object]) -> None:
    assert await asyncio.to_thread(wait_until, condition, 10)


def _record_unanswered(connection: Connection) -> list[int]:
    """Return a list that gets the number of unanswered requests after each piece of input."""
    recorded = []
    feed = connection.protocol.feed

    def recording(piece: bytes) -> None:
        feed(piece)
        recorded.append(connection.unanswered)

    connection.protocol.feed = recording  # type: ignore[method-assign]
    return recorded


@pytest.mark.parametrize("size_bytes", [1, 7, 541, 16_384, 10**6])
def test_responses_in_order(size_bytes: int) -> None:
    """Each pipelined request gets its response, for any division of the input into pieces."""

    async def main(connection: Connection) -> None:
        requests = (GET + HEAD + b"\r\n\r\n123456" + PADDING) * 20 + GET * 40
        for start in range(0, len(requests), size_bytes):
            connection.send(requests[start : start + size_bytes])
        await connection.receive_responses(100)
        assert (connection.application.started, connection.unanswered) == (100, 0)
        assert connection.application.read_bytes == 20 * (10 + 2000)
        assert connection.protocol.transport.is_reading()

    run(main)


@pytest.mark.parametrize("request_", [GET, SMALLEST.replace(b"1.0", b"1.1\r\nHost:")])
@pytest.mark.parametrize("lead", [0, 1, 17])
@pytest.mark.parametrize("number", [31, 32, 33, 34, 200])
def test_at_most_32_unanswered_requests(request_: bytes, lead: int, number: int) -> None:
    """Of many small requests at most 32 are parsed, the rest is stored, reading pauses, and all get responses."""

    async def main(connection: Connection) -> None:
        recorded = _record_unanswered(connection)
        connection.application.may_respond.clear()
        connection.send(request_)
        requests = request_ * number
        connection.send(requests[:lead])
        connection.send(requests[lead:])
        assert connection.protocol.has_unparsed_input or number < MAX_PIPELINED
        assert not connection.protocol.transport.is_reading()
        connection.application.may_respond.set()
        await connection.receive_responses(1 + number)
        assert 2 <= max(recorded) <= MAX_PIPELINED
        assert connection.unanswered == 0

    run(main)


def test_smallest_requests() -> None:
    """The bound holds for the smallest requests that the parser accepts, with the parser's own count."""

    async def main(connection: Connection) -> None:
        connection.application.may_respond.clear()
        connection.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"))
        await _until(lambda: connection.application.started)
        recorded = _record_unanswered(connection)
        connection.send(SMALLEST * 1000)
        assert 2 <= max(recorded) <= MAX_PIPELINED

    run(main)


def test_normal_requests_are_parsed_at_once() -> None:
    """A request of usual size is one piece, and costs no pause of the transport."""

    async def main(connection: Connection) -> None:
        recorded = _record_unanswered(connection)
        connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n" + b"x" * 9000)
        assert len(recorded) == 1
        assert connection.protocol.transport.is_reading()
        await connection.receive_responses(1)

    run(main)


def test_unread_responses_start_no_request() -> None:
    """A client that reads no responses has no more requests started, until it reads."""

    async def main(connection: Connection) -> None:
        connection.application.size_bytes = LARGE
        connection.send(GET * 10)
        await _until(lambda: connection.protocol.flow.write_paused)
        await asyncio.to_thread(int)
        assert connection.application.started == 1
        assert not connection.protocol.transport.is_reading() or not connection.protocol.has_unparsed_input
        connection.application.size_bytes = 2
        while connection.application.started < 10 or connection.unanswered:
            await connection.receive()

    run(main)


def test_queued_requests_take_turns() -> None:
    """A client that does not pipeline does not wait for the queued requests of many others, which all get responses."""

    async def main() -> None:
        scheduler = RequestScheduler()
        async with AsyncExitStack() as stack:
            others = [await stack.enter_async_context(connected(scheduler=scheduler)) for _ in range(100)]
            for other in others:
                other.send(GET * 30)
            await _until(lambda: all(other.application.started for other in others))
            client = await stack.enter_async_context(connected(scheduler=scheduler))
            before = sum(other.application.started for other in others)
            client.send(GET)
            await client.receive_responses(1)
            assert sum(other.application.started for other in others) - before < 100
            for other in others:
                await other.receive_responses(30)

    run_alone(main)


def test_request_after_an_unread_response() -> None:
    """A request that was not pipelined waits as well, with its body, until the client reads."""

    async def main(connection: Connection) -> None:
        connection.application.size_bytes = LARGE
        connection.send(GET)
        await _until(lambda: connection.protocol.flow.write_paused and connection.unanswered == 0)
        connection.application.size_bytes = 2
        connection.send(HEAD + b"12345")
        connection.send(b"67890" + GET)
        connection.check_after(TIMEOUT_S - 1)
        assert connection.is_open
        assert connection.application.started == 1
        received_bytes = 0
        while received_bytes < LARGE:
            received_bytes += len(await connection.receive())
        await _until(lambda: connection.application.started == 3 and connection.unanswered == 0)
        assert connection.application.read_bytes == 10

    run(main)


def test_malformed_queued_request_never_starts() -> None:
    """A queued request whose body is malformed is rejected and never starts."""

    async def main(connection: Connection) -> None:
        connection.application.size_bytes = LARGE
        connection.send(GET)
        await _until(lambda: connection.protocol.flow.write_paused and connection.unanswered == 0)
        connection.send(BROKEN)
        received = b""
        while part := await connection.receive():
            received = received[-1000:] + part
        assert received.rpartition(b"HTTP/1.1 ")[2].startswith(b"400 Bad Request\r\n")
        assert connection.application.started == 1

    run(main)


def test_rejection_after_stored_input() -> None:
    """Malformed stored input is rejected after the responses to all earlier requests."""

    async def main(connection: Connection) -> None:
        connection.send(GET * 100 + b"nonsense\r\n\r\n" + GET)
        content = b""
        while part := await connection.receive():
            content += part
        assert content.count(b"HTTP/1.1 200 ") == 100
        assert content.rpartition(b"HTTP/1.1 ")[2].startswith(b"400 ")
        assert connection.application.started == 100

    run(main)


def test_large_body_is_not_stored() -> None:
    """About 64 KiB of a body are parsed before the application reads; in the end it gets all of it."""

    async def main(connection: Connection) -> None:
        connection.application.may_respond.clear()
        connection.send(HEAD.replace(b"10", b"1000000") + b"x" * 250_000)
        assert len(connection.protocol.cycle.body) < 100_000
        assert not connection.protocol.transport.is_reading()
        connection.application.may_respond.set()
        await _until(connection.protocol.transport.is_reading)
        connection.send(b"x" * 750_000 + GET)
        await connection.receive_responses(2)
        assert connection.application.read_bytes == 1_000_000

    run(main)


def test_time_limit_of_a_stored_request() -> None:
    """The time limit of a request counts only while the server reads."""

    async def main(connection: Connection) -> None:
        connection.application.may_respond.clear()
        connection.send(GET * 100 + GET[:-2])
        connection.check_after(10 * TIMEOUT_S)
        assert connection.is_open
        connection.application.may_respond.set()
        await connection.receive_responses(100)
        connection.check_after(TIMEOUT_S - 1)
        assert connection.is_open
        connection.check_after(TIMEOUT_S + 1)
        await connection.refusal()
        assert connection.closed_for == ["slow_request"]

    run(main)


def test_graceful_stop_with_stored_input() -> None:
    """A connection with stored input is not idle when the service stops: its next response is the last."""

    async def main(connection: Connection) -> None:
        connection.application.may_respond.clear()
        connection.send(GET * 100)
        connection.protocol.shutdown()
        assert connection.protocol.timeout_keep_alive_task is None
        connection.application.may_respond.set()
        content = b""
        while part := await connection.receive():
            content += part
        assert content.count(b"connection: close") == 1
        assert content.count(b"HTTP/1.1 200 ") == connection.application.started

    run(main)
