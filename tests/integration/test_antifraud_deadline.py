"""A call of the anti-fraud service ends by its deadline, also if the service sends its response byte by byte."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from threading import Event, Thread
from typing import Self
from uuid import uuid4

import pytest

from promo_api.antifraud.client import AntifraudClient, NoVerdict
from promo_api.config.settings import Settings

READ_S = 0.5
YES = b'{"ok": true}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
LENGTH = b"Content-Length: 12\r\n\r\n"
# Each response takes about five seconds and ends with a positive verdict.
SLOW_RESPONSES: list[tuple[bytes, bytes, bytes]] = [
    (b"", HEAD + LENGTH, YES),
    (HEAD, b"X-Reason: " + b"x" * 100 + b"\r\n", LENGTH + YES),
    (HEAD + b"Content-Length: 112\r\n\r\n", b" " * 100, YES),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 17, b"c\r\n" + YES + b"\r\n0\r\n\r\n"),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\nc;", b"x" * 100, b"\r\n" + YES + b"\r\n0\r\n\r\n"),
    (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 4, HEAD + LENGTH + YES),
    (b"", b"", b""),
]


class SlowService:
    """A service that sends each response in three parts: the first and the last at once, the second byte by byte."""

    def __init__(self, first: bytes, slow: bytes, last: bytes) -> None:
        self._response = first, slow, last
        self._stopped = Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = Thread(target=self._serve)
        self.connections = 0

    @property
    def address(self) -> str:
        """The URL of the service."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        """Start it."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop it before the next byte."""
        self._stopped.set()
        socket.create_connection(self._listener.getsockname()).close()
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while not self._stopped.is_set():
            connection, _ = self._listener.accept()
            self.connections += 1
            connection.settimeout(10)  # a failed test may leave a connection open
            with connection, suppress(OSError):
                while b"promo_id" in (received := connection.recv(4096)) or received.startswith(b"POST"):
                    if b"promo_id" in received:
                        self._send(connection)

    def _send(self, connection: socket.socket) -> None:
        first, slow, last = self._response
        connection.sendall(first)
        for byte in slow:
            if self._stopped.wait(0.05):
                return
            connection.sendall(bytes([byte]))
        if last:
            connection.sendall(last)
        else:
            self._stopped.wait(5)


@pytest.fixture
def client_of(settings: Settings) -> Iterator[Callable[[SlowService], AntifraudClient]]:
    """Creates clients with a read timeout of half a second."""
    with ExitStack() as stack:

        def make(service: SlowService) -> AntifraudClient:
            client = AntifraudClient(
                replace(settings, antifraud_address=service.address, antifraud_read_timeout_s=READ_S)
            )
            stack.callback(client.close)
            return client

        yield make


@pytest.mark.parametrize("response", SLOW_RESPONSES)
def test_slow_response(
    client_of: Callable[[SlowService], AntifraudClient], response: tuple[bytes, bytes, bytes]
) -> None:
    """A response that arrives byte by byte fails at the deadline, although each byte arrives in time."""
    with SlowService(*response) as service:
        client = client_of(service)
        begun_s = time.monotonic()
        with pytest.raises(NoVerdict):
            client.ask("a@b.example", uuid4())
        assert READ_S <= time.monotonic() - begun_s < 5 * READ_S


def test_responses_in_time(client_of: Callable[[SlowService], AntifraudClient]) -> None:
    """Responses in parts are accepted before the deadline. Each call on a reused connection has its own deadline."""
    with SlowService(HEAD, b"X: ab", b"\r\n" + LENGTH + YES) as service:
        client = client_of(service)
        assert [client.ask("a@b.example", uuid4()).ok for _ in range(4)] == [True] * 4
        assert service.connections == 1
        client.close()
