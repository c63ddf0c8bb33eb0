"""A call of the anti-fraud service takes no longer than its limits, however the service spends the time."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from threading import Event, Thread
from typing import Self
from uuid import uuid4

import pytest

from promo_api.antifraud_client import AntifraudClient, NoAnswer
from promo_api.settings import Settings

READ_S = 0.5
YES = b'{"ok": true}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
LENGTH = b"Content-Length: 12\r\n\r\n"
# Each of these takes some five seconds, and ends with a yes.
DRIPS: list[tuple[bytes, bytes, bytes]] = [
    (b"", HEAD + LENGTH, YES),
    (HEAD, b"X-Reason: " + b"x" * 100 + b"\r\n", LENGTH + YES),
    (HEAD + b"Content-Length: 112\r\n\r\n", b" " * 100, YES),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 17, b"c\r\n" + YES + b"\r\n0\r\n\r\n"),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\nc;", b"x" * 100, b"\r\n" + YES + b"\r\n0\r\n\r\n"),
    (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 4, HEAD + LENGTH + YES),
    (b"", b"", b""),
]


class Dripping:
    """A service that answers every request with a part at once, a part byte by byte, and the rest at once."""

    def __init__(self, at_once: bytes, dripping: bytes, rest: bytes) -> None:
        self._answer = at_once, dripping, rest
        self._stopped = Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = Thread(target=self._serve)
        self.connections = 0

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        """Start it."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop it; it ends at the next byte."""
        self._stopped.set()
        socket.create_connection(self._listener.getsockname()).close()
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while not self._stopped.is_set():
            connection, _ = self._listener.accept()
            self.connections += 1
            connection.settimeout(10)  # for a client that keeps its connection when a test fails
            with connection, suppress(OSError):
                while b"promo_id" in (received := connection.recv(4096)) or received.startswith(b"POST"):
                    if b"promo_id" in received:
                        self._send(connection)

    def _send(self, connection: socket.socket) -> None:
        at_once, dripping, rest = self._answer
        connection.sendall(at_once)
        for byte in dripping:
            if self._stopped.wait(0.05):
                return
            connection.sendall(bytes([byte]))
        if rest:
            connection.sendall(rest)
        else:
            self._stopped.wait(5)


@pytest.fixture
def client_of(settings: Settings) -> Iterator[Callable[[Dripping], AntifraudClient]]:
    """Makes clients that give an answer half a second."""
    with ExitStack() as stack:

        def make(service: Dripping) -> AntifraudClient:
            client = AntifraudClient(
                replace(settings, antifraud_address=service.address, antifraud_read_timeout_s=READ_S)
            )
            stack.callback(client.close)
            return client

        yield make


@pytest.mark.parametrize("drip", DRIPS)
def test_answer_that_drips(client_of: Callable[[Dripping], AntifraudClient], drip: tuple[bytes, bytes, bytes]) -> None:
    """An answer that comes byte by byte, each of them in time, is none once the time for all of it is over."""
    with Dripping(*drip) as service:
        client = client_of(service)
        begun_s = time.monotonic()
        with pytest.raises(NoAnswer):
            client.ask("a@b.example", uuid4())
        assert READ_S <= time.monotonic() - begun_s < 5 * READ_S


def test_answers_in_time(client_of: Callable[[Dripping], AntifraudClient]) -> None:
    """Answers in parts are answers while there is time, and the limit is for each of them anew on a kept connection."""
    with Dripping(HEAD, b"X: ab", b"\r\n" + LENGTH + YES) as service:
        client = client_of(service)
        assert [client.ask("a@b.example", uuid4()).ok for _ in range(4)] == [True] * 4
        assert service.connections == 1
        client.close()
