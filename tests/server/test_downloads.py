"""Streamed responses over a connection: backpressure, slow readers, disconnects and failures."""

import asyncio
import tracemalloc
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest
from starlette.types import ASGIApp

from promo_api.contract.streams import StreamedResponse
from promo_api.dev.processes import wait_until
from promo_api.server.slow_clients import UnreadLimit
from tests.contract.handlers import streams
from tests.contract.sample_api import contract, operation, serve
from tests.server.connection import TIMEOUT_S, Connection, run

GET = b"GET /api/stream HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNK = b"x" * 1000
END = b"0\r\n\r\n"
MIB = 1024 * 1024


class Export:
    """A generator of `chunks` chunks, or of `fails_at`, and what has happened to it."""

    def __init__(self) -> None:
        self.chunks, self.fails_at, self.yielded = 10_000, -1, 0
        self.closed = Event()

    def __call__(self) -> Iterator[bytes]:
        """Yield the chunks."""
        try:
            for number in range(self.chunks):
                if number == self.fails_at:
                    raise ValueError("a failure that must not be revealed")
                self.yielded += 1
                yield CHUNK
        finally:
            self.closed.set()


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch) -> Export:
    """The generator of the response."""
    made = Export()
    monkeypatch.setattr(streams, "_rows", lambda *_arguments: made())
    return made


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> ASGIApp:
    """An application with a streamed response."""
    responses = {"200": {"description": "Rows.", "content": {"application/x-ndjson": {"schema": {"type": "string"}}}}}
    paths = {"/stream": {"get": operation("streams.send_only", responses=responses)}}
    return serve(tmp_path_factory.mktemp("downloads") / "api.yml", contract(paths))


async def _until(condition: Any) -> None:
    assert await asyncio.to_thread(wait_until, condition, 10)


async def _read_all(connection: Connection) -> bytes:
    content = b""
    while not content.endswith(END) and (part := await connection.receive()):
        content += part
    return content


async def _stall(connection: Connection, export: Export) -> None:
    """Begin a response, and read nothing until the server waits."""
    connection.send(GET)
    await _until(lambda: connection.protocol.flow.write_paused)
    before = -1
    while before != export.yielded:
        before = export.yielded
        await asyncio.to_thread(export.closed.wait, 0.2)


def test_streams_on_one_connection(app: ASGIApp, export: Export) -> None:
    """A connection is used again after a streamed response."""

    async def main(connection: Connection) -> None:
        export.chunks = 100
        for _ in range(2):
            connection.send(GET)
            head, _, body = (await _read_all(connection)).partition(b"\r\n\r\n")
            assert b"\r\ntransfer-encoding: chunked" in head
            assert body.count(b"x") == 100 * len(CHUNK)
        assert connection.is_open

    run(main, app=app)


def test_slow_reader_pauses_the_generator(app: ASGIApp, export: Export) -> None:
    """While the client does not read, the generator waits, and less than 1 MiB is in memory; then it gets all."""

    async def main(connection: Connection) -> None:
        tracemalloc.start()
        await _stall(connection, export)
        assert export.yielded * len(CHUNK) < MIB
        assert connection.protocol.unread_bytes < MIB // 4
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        read = 0
        while read < export.chunks * len(CHUNK):
            read += (await connection.receive()).count(b"x")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert export.closed.wait(10)
        assert peak - before < MIB

    run(main, app=app)


def test_slow_reader_is_cut(app: ASGIApp, export: Export) -> None:
    """A client that reads less than 64 KiB in the time limit is disconnected, and the generator is closed."""

    async def main(connection: Connection) -> None:
        await _stall(connection, export)
        for seconds in (0, TIMEOUT_S - 1):
            connection.check_after(seconds)
            assert connection.is_open
        connection.check_after(TIMEOUT_S + 1)
        assert connection.closed_for == ["slow_response"]
        await _until(export.closed.is_set)
        await asyncio.gather(*connection.protocol.tasks)

    run(main, app=app)


def test_steady_reader_has_no_time_limit(app: ASGIApp, export: Export) -> None:
    """A client that reads more than 64 KiB in each time limit gets the whole response; its duration is not limited."""

    async def main(connection: Connection) -> None:
        await _stall(connection, export)
        read, elapsed_s = 0, 0
        while read < export.chunks * len(CHUNK):
            target = min(read + 3 * 64 * 1024, export.chunks * len(CHUNK))
            while read < target:
                read += (await connection.receive()).count(b"x")
            for _ in range(20):
                await asyncio.to_thread(int)
            elapsed_s += TIMEOUT_S - 1
            connection.check_after(elapsed_s)
            assert connection.is_open, (elapsed_s, connection.closed_for)

    run(main, app=app)


def test_unread_limit(app: ASGIApp, export: Export) -> None:
    """The limit of unread responses covers streams."""

    async def main(connection: Connection) -> None:
        await _stall(connection, export)
        guard = UnreadLimit(1)
        for _ in range(11):
            guard.enforce([connection.protocol])
        assert connection.closed_for == ["unread"]
        await _until(export.closed.is_set)

    run(main, app=app)


def test_disconnect(app: ASGIApp, export: Export, caplog: pytest.LogCaptureFixture) -> None:
    """A disconnect closes the generator, and is not logged as an error."""

    async def main(connection: Connection) -> None:
        await _stall(connection, export)
        connection.client.close()
        await _until(export.closed.is_set)
        await asyncio.gather(*connection.protocol.tasks)
        assert export.yielded < export.chunks

    run(main, app=app)
    assert caplog.records == []


def test_failure_in_the_middle(app: ASGIApp, export: Export, caplog: pytest.LogCaptureFixture) -> None:
    """After an exception the client gets no end of the response, and it is logged once."""

    async def main(connection: Connection) -> None:
        export.fails_at = 500
        connection.send(GET + GET)
        content = await _read_all(connection)
        assert content.count(b"HTTP/1.1 200 OK") == 1
        assert END not in content
        assert b"revealed" not in content
        await asyncio.gather(*connection.protocol.tasks)

    run(main, app=app)
    assert [record.getMessage() for record in caplog.records] == ["response_aborted"]


def test_head(app: ASGIApp, export: Export) -> None:
    """HEAD gets no body, the generator does not run, and the next request gets its response."""

    async def main(connection: Connection) -> None:
        connection.send(GET.replace(b"GET", b"HEAD"))
        assert (await connection.receive()).endswith(b"\r\n\r\n")
        assert export.yielded == 0
        export.chunks = 1
        connection.send(GET)
        assert (await _read_all(connection)).count(b"x") > len(CHUNK)

    run(main, app=app)


def test_stop_waits_for_a_stream(app: ASGIApp, export: Export) -> None:
    """A stopping worker sends the rest of a stream, and then closes the connection."""

    async def main(connection: Connection) -> None:
        await _stall(connection, export)
        connection.protocol.shutdown()
        body = (await _read_all(connection)).partition(b"\r\n\r\n")[2]
        assert body.count(b"x") == export.chunks * len(CHUNK)

    run(main, app=app)


def test_streamed_response_closes_any_iterable() -> None:
    """Chunks may be a list."""
    StreamedResponse("text/csv", [b"a"]).close()
