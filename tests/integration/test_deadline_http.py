"""HTTP calls with a deadline: connections are reused and replaced, and invalid responses are rejected."""

import socket
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http.client import BadStatusLine, HTTPException, IncompleteRead
from threading import Thread
from time import monotonic
from typing import Any, Self

import pytest

from promo_api.deadline_http import DeadlineHttpClient, ResponseTooLong
from promo_api.dev.processes import wait_until

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = OK + b"Content-Length: 0\r\n\r\n"
MAX_BYTES = 64 * 1024
MAX_BODY = b"x" * MAX_BYTES
CONNECT_S = 0.3
# A busy machine may add this much.
SLACK_S = 3


def _chunked(body: bytes) -> bytes:
    return OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


class Service:
    """A server that sends one response to every request, and records the requests of each connection."""

    def __init__(self, response: bytes, *, closes: bool = False) -> None:
        self._response = response
        self._closes = closes
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = Thread(target=self._serve)
        self.port = self._listener.getsockname()[1]
        self.requests: list[list[bytes]] = []
        self.connection: socket.socket | None = None

    def __enter__(self) -> Self:
        """Start it."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop it, and close its connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self.close_connection()
        self._thread.join()
        self._listener.close()

    def close_connection(self) -> None:
        """Close the current connection."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.connection = connection
                self.requests.append([])
                while request := connection.recv(4096):
                    if not request.endswith(b"{}"):  # the headers, and the body is still to come
                        request += connection.recv(4096)
                    self.requests[-1].append(request)
                    connection.sendall(self._response)
                    if self._closes:
                        self.connection = None
                        break


Connect = Callable[..., DeadlineHttpClient]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Creates clients of a port."""
    with ExitStack() as stack:

        def create(port: int, url: str = "http://127.0.0.1:{}/check", **changes: Any) -> DeadlineHttpClient:
            limits = {"connect_timeout_s": CONNECT_S, "read_timeout_s": 5.0, "ca_file": ""} | changes
            return stack.enter_context(closing(DeadlineHttpClient(url.format(port), **limits)))

        yield create


def test_connections_are_reused(connect: Connect) -> None:
    """Consecutive calls share a connection. A ping opens its own."""
    with Service(EMPTY) as service:
        client = connect(service.port)
        assert [client.post(b"{}") for _ in range(3)] == [(200, b"")] * 3
        assert [len(requests) for requests in service.requests] == [3]


def test_closed_connection_is_replaced(connect: Connect) -> None:
    """A connection that the server closed while it was idle is replaced, and the call succeeds."""
    with Service(EMPTY) as service:
        client = connect(service.port)
        client.post(b"{}")
        [idle] = client._idle
        service.close_connection()
        assert wait_until(lambda: idle.deadline_socket.recv(1, socket.MSG_PEEK) == b"", 5)
        assert client.post(b"{}") == (200, b"")
        assert [len(requests) for requests in service.requests] == [1, 1]


@pytest.mark.parametrize("head", [b"Connection: close\r\nContent-Length: 2\r\n\r\n", b"\r\n"])
def test_server_that_closes(connect: Connect, head: bytes) -> None:
    """A connection that the server closes after its response is not reused."""
    with Service(OK + head + b"ab", closes=True) as service:
        client = connect(service.port)
        assert [client.post(b"{}") for _ in range(2)] == [(200, b"ab")] * 2
        assert len(service.requests) == 2
        assert client._idle == []


def test_request(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request has the path and the credentials of the URL. Proxies of the environment are not used."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Service(EMPTY) as service:
        connect(service.port, "http://ann:p%40ss@127.0.0.1:{}/a%20<b/api/check").post(b"{}")
    [[request]] = service.requests
    assert request.startswith(b"POST /a%20%3Cb/api/check HTTP/1.1\r\n")
    assert f"\r\nHost: 127.0.0.1:{service.port}\r\n".encode() in request
    assert b"\r\nAuthorization: Basic " + b64encode(b"ann:p@ss") + b"\r\n" in request
    assert b"\r\nContent-Type: application/json\r\n" in request
    assert request.endswith(b"\r\n\r\n{}")


def test_redirects_are_not_followed(connect: Connect) -> None:
    """A redirect is the response."""
    with Service(b"HTTP/1.1 307 Elsewhere\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n") as service:
        assert connect(service.port).post(b"{}")[0] == 307


@pytest.mark.parametrize(
    ("response", "closes"),
    [
        (OK + b"Content-Length: %d\r\n\r\n" % MAX_BYTES + MAX_BODY, False),
        (_chunked(MAX_BODY), False),
        (OK + b"\r\n" + MAX_BODY, True),
    ],
)
def test_longest_response(connect: Connect, response: bytes, closes: bool) -> None:
    """A body of 64 KiB is accepted."""
    with Service(response, closes=closes) as service:
        assert connect(service.port).post(b"{}") == (200, MAX_BODY)


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (OK + b"Content-Length: %d\r\n\r\n" % (MAX_BYTES + 1) + MAX_BODY + b"x", ResponseTooLong),
        (_chunked(MAX_BODY + b"x"), ResponseTooLong),
        (OK + b"\r\n" + MAX_BODY + b"x", ResponseTooLong),
        (OK + b"Content-Length: 3\r\n\r\nab", IncompleteRead),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", IncompleteRead),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nab", ValueError),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nab", HTTPException),
        (OK + b"X: y\r\n" * 101 + b"\r\n", HTTPException),
        (b"hello\r\n\r\n", BadStatusLine),
        (b"", HTTPException),
    ],
)
def test_invalid_responses(connect: Connect, response: bytes, error: type[Exception]) -> None:
    """A response that is too long, incomplete or not HTTP is an error, and its connection is not reused."""
    with Service(response, closes=True) as service:
        client = connect(service.port)
        with pytest.raises((error, ConnectionResetError)) as caught:
            client.post(b"{}")
        assert isinstance(caught.value, error) or error is HTTPException
        assert client._idle == []


@pytest.fixture
def blackhole() -> Iterator[int]:
    """A port that accepts no connection and refuses none: its backlog is full."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        yield listener.getsockname()[1]


def _resolve(monkeypatch: pytest.MonkeyPatch, *ports: int) -> None:
    """Make every host resolve to these ports of this machine."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: found)


def test_next_address(connect: Connect, blackhole: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """If an address of the host does not respond, the client connects to the next address."""
    with Service(EMPTY) as service:
        _resolve(monkeypatch, blackhole, service.port)
        assert connect(service.port).post(b"{}") == (200, b"")


@pytest.mark.parametrize("method", ["post", "ping"])
def test_many_dead_addresses(connect: Connect, blackhole: int, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """The deadline also ends the attempts to connect to many addresses."""
    _resolve(monkeypatch, *[blackhole] * 100)
    client = connect(blackhole, read_timeout_s=0.3)
    began_s = monotonic()
    with pytest.raises(TimeoutError):
        client.post(b"{}") if method == "post" else client.ping()
    assert CONNECT_S < monotonic() - began_s < CONNECT_S + 0.3 + SLACK_S


def test_mute_tls_server(connect: Connect) -> None:
    """The TLS handshake ends after the connect timeout."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        client = connect(mute.getsockname()[1], "https://127.0.0.1:{}/check")
        began_s = monotonic()
        with pytest.raises(TimeoutError):
            client.ping()
        assert CONNECT_S <= monotonic() - began_s < CONNECT_S + SLACK_S
