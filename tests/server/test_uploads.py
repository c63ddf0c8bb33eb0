"""Streamed request bodies over a connection: backpressure, slow clients, disconnects and refused uploads."""

import asyncio
import json
import tracemalloc
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from starlette.types import ASGIApp

from promo_api.dev.processes import wait_until
from promo_api.server import early_responses
from tests.contract.handlers.streams import EVENTS, MAY_READ
from tests.contract.sample_api import GOOD_TOKEN, contract, operation, serve
from tests.server.connection import TIMEOUT_S, Connection, run

KIB = 1024
LIMIT = 256 * KIB * KIB
PIECE = b"0123456789abcdef" * 4 * KIB  # 64 KiB
GET = b"GET /api/rows HTTP/1.1\r\nHost: x\r\n\r\n"
CSV = b"Content-Type: text/csv\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CONTINUE = b"Expect: 100-continue\r\n"
TOKEN = b"Authorization: Bearer %s\r\n" % GOOD_TOKEN.encode()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> ASGIApp:
    """An application with a secured upload and a small response."""
    text: dict[str, Any] = {"type": "string"}
    content = {"text/csv": {"schema": text, "x-max-bytes": LIMIT}, "text/plain": {"schema": text, "x-max-bytes": 9}}
    body = {"required": True, "content": content}
    paths = {
        "/upload": {"post": operation("streams.receive", requestBody=body, security=[{"account": []}])},
        "/rows": {"get": operation("streams.send_only")},
    }
    return serve(tmp_path_factory.mktemp("uploads") / "api.yml", contract(paths))


@pytest.fixture(autouse=True)
def _reset(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    EVENTS.clear()
    monkeypatch.setattr(early_responses, "_HALF_OPEN_S", 0.2)
    yield
    MAY_READ.set()


def _head(*headers: bytes) -> bytes:
    return b"POST /api/upload HTTP/1.1\r\nHost: x\r\n" + b"".join(headers) + b"\r\n"


def _length(size: int) -> bytes:
    return b"Content-Length: %d\r\n" % size


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def _send(connection: Connection, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(connection.client, data)


async def _until(condition: Any) -> None:
    assert await asyncio.to_thread(wait_until, condition, 10)


async def _received(connection: Connection, end: bytes = b"") -> bytes:
    """Return what the server sends, until these bytes or until it closes its side."""
    content = b""
    while not (end and content.endswith(end)):
        part = await connection.receive()
        if not part:
            break
        content += part
    return content


def _bodies(content: bytes) -> list[Any]:
    """Return the JSON bodies of responses."""
    parts = content.decode().split("\r\n\r\n")
    return [json.JSONDecoder().raw_decode(part)[0] for part in parts if part.startswith("{")]


@pytest.mark.parametrize("is_chunked", [True, False])
def test_upload_and_pipelined_request(app: ASGIApp, is_chunked: bool) -> None:
    """A long body arrives whole, and the request after it gets its response on the same connection."""
    content = PIECE * 40
    length, body = _length(len(content)), content
    if is_chunked:
        length, body = CHUNKED, _chunk(PIECE) * 40 + b"0\r\n\r\n"

    async def main(connection: Connection) -> None:
        sending = asyncio.create_task(_send(connection, _head(CSV, TOKEN, length) + body + GET))
        received = await _received(connection, b"0\r\n\r\n")
        await sending
        [uploaded] = _bodies(received)
        assert (uploaded["size"], uploaded["sha256"]) == (len(content), sha256(content).hexdigest())
        assert received.count(b"HTTP/1.1 200 OK") == 2
        assert b"connection: close" not in received
        assert connection.is_open

    run(main, app=app)


def test_slow_handler_pauses_the_client(app: ASGIApp) -> None:
    """While the handler does not read, the server takes little of the body, and its memory stays small."""

    async def main(connection: Connection) -> None:
        MAY_READ.clear()
        size = 32 * KIB * KIB
        tracemalloc.start()
        await _send(connection, _head(CSV, TOKEN, _length(size)))
        sent = 0
        for _ in range(10_000):
            try:
                sent += connection.client.send(PIECE)
            except BlockingIOError:
                await asyncio.sleep(0)
        assert 0 < sent < 2 * KIB * KIB
        MAY_READ.set()
        content = PIECE * (size // len(PIECE))
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        view = memoryview(content)[sent:]
        await asyncio.get_running_loop().sock_sendall(connection.client, view)
        [uploaded] = _bodies(await _received(connection, b"}"))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert uploaded["size"] == size
        assert peak - before < KIB * KIB

    run(main, app=app)


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("length", [CHUNKED, _length(10**6)])
def test_disconnect_in_the_middle(app: ASGIApp, length: bytes, reset: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A disconnect ends the handler with an exception, and is not logged as an error."""

    async def main(connection: Connection) -> None:
        await _send(connection, _head(CSV, TOKEN, length) + (_chunk(PIECE) if length == CHUNKED else PIECE))
        await _until(lambda: connection.protocol._received_bytes == len(PIECE))
        if reset:
            connection.protocol.transport.abort()
        else:
            connection.client.close()
        await _until(lambda: EVENTS == ["disconnected"])
        await asyncio.gather(*connection.protocol.tasks)

    run(main, app=app)
    assert caplog.records == []


@pytest.mark.parametrize("rest", [b"zz\r\n", b"-1\r\n\r\n"])
def test_malformed_chunk_in_the_middle(app: ASGIApp, rest: bytes) -> None:
    """A malformed chunk ends the handler, and is a 400."""

    async def main(connection: Connection) -> None:
        await _send(connection, _head(CSV, TOKEN, CHUNKED) + _chunk(PIECE) + rest)
        content = await _received(connection)
        assert content.startswith(b"HTTP/1.1 400 ")
        assert content.count(b"HTTP/1.1") == 1
        await _until(lambda: EVENTS == ["disconnected"])

    run(main, app=app)


SMUGGLED = [b"x" * 1000, GET, b"0\r\n\r\n" + GET, b"\r\n" + GET, b"garbage \x00\xff\r\n\r\n" * 100]


@pytest.mark.parametrize("rest", SMUGGLED)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([CSV, CHUNKED], b"401"),
        ([CSV, CHUNKED, CONTINUE], b"401"),
        ([CSV, _length(10**6), CONTINUE], b"401"),
        ([CSV, _length(5), CONTINUE], b"401"),
        ([CSV, TOKEN, _length(LIMIT + 1)], b"413"),
        ([TOKEN, CHUNKED, b"Content-Type: image/png\r\n"], b"415"),
        ([CSV, TOKEN, CHUNKED, b"Content-Encoding: gzip\r\n", CONTINUE], b"415"),
    ],
)
def test_refused_upload(app: ASGIApp, headers: list[bytes], status: bytes, rest: bytes) -> None:
    """A refused upload gets its response at once, without a 100; what follows is ignored, without a reset."""

    async def main(connection: Connection) -> None:
        await _send(connection, _head(*headers))
        content = await _received(connection)
        assert content.startswith(b"HTTP/1.1 " + status)
        assert b"\r\nconnection: close\r\n" in content
        assert content.count(b"HTTP/1.1") == 1
        assert EVENTS == []
        assert connection.is_open
        await _send(connection, rest * 3)
        await _until(lambda: not connection.is_open)
        assert connection.closed_for == []
        await _until(lambda: not connection.protocol.connections)

    run(main, app=app)


@pytest.mark.parametrize("rest", [rest for rest in SMUGGLED if not rest.startswith(b"0")])
def test_refusal_with_the_body_in_one_packet(app: ASGIApp, rest: bytes) -> None:
    """A refused upload whose body has begun gets one response, too."""

    async def main(connection: Connection) -> None:
        await _send(connection, _head(CSV, CHUNKED) + _chunk(PIECE) + rest)
        content = await _received(connection)
        assert content.count(b"HTTP/1.1") == 1
        await _until(lambda: not connection.is_open)

    run(main, app=app)


def test_short_refused_body(app: ASGIApp) -> None:
    """After a refused request with a short body the connection stays open: the rest of the body is ignored."""

    async def main(connection: Connection) -> None:
        await _send(connection, _head(CSV, _length(1000)))
        assert (await _received(connection, b"}")).startswith(b"HTTP/1.1 401")
        await _send(connection, b"x" * 1000 + GET)
        assert (await _received(connection, b"0\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert connection.is_open

    run(main, app=app)


@pytest.mark.parametrize("rest", [b"", *SMUGGLED])
def test_too_large_in_the_middle(app: ASGIApp, rest: bytes) -> None:
    """A body that exceeds its limit is a 413 when that is known, and what follows is ignored."""

    async def main(connection: Connection) -> None:
        head = _head(b"Content-Type: text/plain\r\n", TOKEN, CHUNKED)
        await _send(connection, head + _chunk(b"12345"))
        await _until(lambda: connection.protocol._received_bytes == 5)
        await _send(connection, _chunk(b"67890"))
        content = await _received(connection)
        await _send(connection, rest)
        assert content.startswith(b"HTTP/1.1 413")
        assert b"\r\nconnection: close\r\n" in content
        assert content.count(b"HTTP/1.1") == 1
        assert _bodies(content)[0]["code"] == "body_too_large"
        await _until(lambda: not connection.protocol.connections)

    run(main, app=app)


def test_continue(app: ASGIApp) -> None:
    """A client that waits for it gets 100 when the handler reads, and may use the connection again."""

    async def main(connection: Connection) -> None:
        await _send(connection, _head(CSV, TOKEN, _length(5), CONTINUE))
        assert await connection.receive() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await _send(connection, b"abcde" + GET)
        content = await _received(connection, b"0\r\n\r\n")
        assert _bodies(content)[0]["size"] == 5
        assert b"connection: close" not in content

    run(main, app=app)


def test_client_that_closes_after_a_refusal(app: ASGIApp) -> None:
    """A half open connection ends when the client closes it."""

    async def main(connection: Connection) -> None:
        await _send(connection, _head(CSV, CHUNKED))
        await _received(connection)
        connection.client.close()
        await _until(lambda: not connection.protocol.connections)

    run(main, app=app)


def test_refusal_during_a_stop(app: ASGIApp) -> None:
    """A stopping worker ends half open connections, too."""

    async def main(connection: Connection) -> None:
        await _send(connection, _head(CSV, CHUNKED))
        await _received(connection)
        connection.protocol.shutdown()
        await _send(connection, PIECE)
        await _until(lambda: not connection.protocol.connections)

    run(main, app=app)


def test_slow_upload(app: ASGIApp) -> None:
    """In each time limit 64 KiB of an upload must arrive; otherwise it is a 408, and the handler ends."""

    async def main(connection: Connection) -> None:
        await _send(connection, _head(CSV, TOKEN, CHUNKED))
        elapsed_s = 0
        for part in range(1, 6):
            await _send(connection, _chunk(PIECE))
            await _until(lambda part=part: connection.protocol._received_bytes == part * len(PIECE))
            await _until(connection.protocol.transport.is_reading)
            elapsed_s += TIMEOUT_S - 1
            connection.check_after(elapsed_s)
            assert connection.is_open
        await _send(connection, _chunk(PIECE[1:]))
        await _until(lambda: connection.protocol._received_bytes == 6 * len(PIECE) - 1)
        connection.check_after(elapsed_s + TIMEOUT_S - 1)
        assert connection.is_open
        connection.check_after(elapsed_s + TIMEOUT_S + 1)
        assert (await connection.refusal())["code"] == "request_timeout"
        assert connection.closed_for == ["slow_request"]
        await _until(lambda: EVENTS == ["disconnected"])

    run(main, app=app)


def test_time_before_the_handler_reads(app: ASGIApp) -> None:
    """The time in which a client waits for 100, or the handler does not read, is not that of the client."""

    async def main(connection: Connection) -> None:
        MAY_READ.clear()
        await _send(connection, _head(CSV, TOKEN, _length(10**6)) + PIECE)
        await _until(lambda: connection.protocol._received_bytes == len(PIECE))
        await _send(connection, PIECE * 3)
        await _until(lambda: not connection.protocol.transport.is_reading())
        connection.check_after(100 * TIMEOUT_S)
        assert connection.is_open
        MAY_READ.set()

    run(main, app=app)


def test_upload_during_a_stop(app: ASGIApp) -> None:
    """A stopping worker does not close an upload that pauses; its response is the last of the connection."""

    async def main(connection: Connection) -> None:
        await _send(connection, _head(CSV, TOKEN, _length(2 * len(PIECE))))
        await _until(lambda: connection.protocol.cycle is not None)
        connection.protocol.shutdown()
        for part in (1, 2):
            # No timer runs that closes idle connections.
            assert connection.protocol.timeout_keep_alive_task is None
            await _send(connection, PIECE)
            await _until(lambda part=part: connection.protocol._received_bytes == part * len(PIECE))
        content = await _received(connection)
        assert b"\r\nconnection: close\r\n" in content
        assert _bodies(content)[0]["size"] == 2 * len(PIECE)

    run(main, app=app)


def test_time_after_a_refusal(app: ASGIApp) -> None:
    """The time limit of a request ends with its refusal: a half open connection is not counted as slow."""

    async def main(connection: Connection) -> None:
        await _send(connection, _head(CSV, CHUNKED))
        await _received(connection)
        connection.check_after(TIMEOUT_S + 1)
        await _until(lambda: not connection.protocol.connections)
        assert connection.closed_for == []

    run(main, app=app)
