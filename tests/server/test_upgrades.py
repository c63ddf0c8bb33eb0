"""Requests with Upgrade: the header is ignored, and the body and the next requests are read like any others."""

import asyncio
import socket

import pytest
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tests.server.connection import BROKEN, GET, TIMEOUT_S, Application, Connection, run, run_alone

UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
BODIES = {
    "none": (b"\r\n", 0),
    "empty": (b"Content-Length: 0\r\n\r\n", 0),
    "length": (b"Content-Length: 10\r\n\r\n0123456789", 10),
    "chunks": (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nA: b\r\n\r\n", 5),
    "large": (b"Content-Length: 200000\r\n\r\n" + b"x" * 200_000, 200_000),
    "request": (b"Content-Length: %d\r\n\r\n" % len(GET * 40) + GET * 40, len(GET * 40)),
}


def _post(framed_body: bytes, version: bytes = b"1.1", upgrade: bytes = UPGRADE) -> bytes:
    return b"POST /x?y=1 HTTP/%s\r\nHost: x\r\n%sA: b\r\n%s" % (version, upgrade, framed_body)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("size_bytes", [1, 11, 541, 1_000_000])
def test_body_and_next_requests(size_bytes: int, body: str) -> None:
    """The body belongs to the request, and later requests are parsed as usual, wherever the input is split."""
    framed, length = BODIES[body]
    if len(framed) > 10_000 and size_bytes < 100:
        framed, length = framed.replace(b"200000", b"2000").replace(b"x" * 198_000, b""), 2000

    async def main(connection: Connection) -> None:
        sent = (_post(framed) + GET) * 2
        for start in range(0, len(sent), size_bytes):
            connection.send(sent[start : start + size_bytes])
        await connection.receive_responses(4)
        assert connection.application.started == 4
        assert connection.application.read_bytes == 2 * length
        assert connection.is_open
        assert connection.unanswered == 0

    run(main)


def test_request_without_the_header() -> None:
    """The application gets the request as it was sent, without Upgrade."""

    async def main(connection: Connection) -> None:
        connection.send(_post(b"Content-Length: 3\r\n\r\nabc", upgrade=UPGRADE + b"upgrade: websocket\r\n"))
        await connection.receive_responses(1)
        scope = connection.application.scope
        assert (scope["method"], scope["raw_path"], scope["query_string"]) == ("POST", b"/x", b"y=1")
        assert scope["headers"] == [
            (b"host", b"x"),
            (b"connection", b"Upgrade, HTTP2-Settings"),
            (b"http2-settings", b"AAMAAABkAAQAAP__"),
            (b"a", b"b"),
            (b"content-length", b"3"),
        ]

    run(main)


@pytest.mark.parametrize(
    ("version", "upgrade"),
    [(b"1.0", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"), (b"1.1", b"Connection: close, Upgrade\r\nUpgrade: h2c\r\n")],
)
def test_last_request(version: bytes, upgrade: bytes) -> None:
    """A last request with Upgrade is read with its body, and the bytes after it are ignored."""

    async def main(connection: Connection) -> None:
        connection.send(_post(b"Content-Length: 3\r\n\r\nabc", version, upgrade) + GET)
        assert b"\r\nconnection: close\r\n" in await connection.receive_responses(1)
        assert await connection.receive() == b""
        assert (connection.application.started, connection.application.read_bytes) == (1, 3)

    run(main)


def test_many_pipelined_upgrades() -> None:
    """The bound of unanswered requests holds for requests with Upgrade."""

    async def main(connection: Connection) -> None:
        connection.application.may_respond.clear()
        connection.send(_post(b"\r\n") * 500)
        assert 2 <= connection.unanswered <= 32
        connection.application.may_respond.set()
        await connection.receive_responses(500)

    run(main)


def test_incomplete_body() -> None:
    """The time limit of a request includes the body after an Upgrade."""

    async def main(connection: Connection) -> None:
        connection.send(_post(b"Content-Length: 3\r\n\r\nab"))
        connection.check_after(TIMEOUT_S - 1)
        assert connection.is_open
        connection.check_after(TIMEOUT_S + 1)
        assert (await connection.refusal())["status"] == "error"

    run(main)


@pytest.mark.parametrize("rest", [BROKEN, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"])
def test_other_protocol_after_the_request(rest: bytes) -> None:
    """Bytes of another protocol after the request get 400: the server has not changed the protocol."""

    async def main(connection: Connection) -> None:
        connection.send(_post(b"Content-Length: 3\r\n\r\nabc") + rest)
        content = await connection.receive_responses(1)
        while part := await connection.receive():
            content += part
        assert content.startswith(b"HTTP/1.1 200 OK\r\n")
        assert content.count(b"HTTP/1.1 400 Bad Request\r\n") == 1

    run(main)


def test_graceful_stop() -> None:
    """During a stop the response to a request with Upgrade is the last, also for the first request of a connection."""

    async def main(connection: Connection) -> None:
        connection.protocol.shutdown()
        connection.send(_post(b"Content-Length: 3\r\n\r\nabc"))
        assert b"\r\nconnection: close\r\n" in await connection.receive_responses(1)
        assert await connection.receive() == b""

    run(main)


def test_graceful_stop_during_a_response() -> None:
    """A response that began before the stop does not end the connection before a later request with Upgrade."""

    async def main(connection: Connection) -> None:
        connection.application.may_respond.clear()
        connection.send(GET)
        cycle = connection.protocol.cycle
        cycle.response_started = True
        connection.protocol.shutdown()
        connection.send(_post(b"\r\n"))
        assert cycle.keep_alive
        assert not connection.protocol.cycle.keep_alive

    run(main)


def test_stock_drops_the_body() -> None:
    """A stock connection takes the end of a body after Upgrade for a request, so server/strict_http.py parses again."""
    client, server = socket.socketpair()

    async def main() -> None:
        application = Application()
        config = Config(application, log_config=None)
        _, protocol = await asyncio.get_running_loop().connect_accepted_socket(
            lambda: HttpToolsProtocol(config, ServerState(), {}), server
        )
        protocol.data_received(_post(b"Content-Length: %d\r\n\r\n" % len(GET)))
        protocol.data_received(GET)
        client.setblocking(False)  # noqa: FBT003 its only parameter
        content = b""
        while content.count(b"HTTP/1.1 200 OK") < 2:
            content += await asyncio.get_running_loop().sock_recv(client, 65536)
        assert application.read_bytes == 0
        protocol.transport.abort()

    with client:
        run_alone(main)
