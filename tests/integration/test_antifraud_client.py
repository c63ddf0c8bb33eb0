"""The HTTP client of the anti-fraud service: connections are reused and replaced, invalid responses are rejected."""

import json
import socket
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from threading import Thread
from time import monotonic
from typing import Any, Self
from uuid import uuid4

import pytest

from promo_api.antifraud.client import AntifraudClient, NoVerdict, Verdict
from promo_api.config.settings import Settings

OK = b"HTTP/1.1 200 OK\r\n"
YES = b'{"ok": true}'
ALLOWED = Verdict(ok=True, valid_until=None)
MAX_BYTES = 64 * 1024
MAX_BODY = YES.ljust(MAX_BYTES)
CONNECT_S = 0.3
# A busy machine may add this much.
SLACK_S = 3


def _sized(body: bytes) -> bytes:
    return OK + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


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
            with suppress(OSError):  # closed already
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
                    if not request.endswith(b"}"):  # the headers, and the body is still to come
                        request += connection.recv(4096)
                    self.requests[-1].append(request)
                    connection.sendall(self._response)
                    if self._closes:
                        self.connection = None
                        break


Connect = Callable[..., AntifraudClient]


@pytest.fixture
def connect(settings: Settings) -> Iterator[Connect]:
    """Creates clients of a port."""
    with ExitStack() as stack:

        def create(port: int, url: str = "http://127.0.0.1:{}", **changes: Any) -> AntifraudClient:
            limits = {"antifraud_connect_timeout_s": CONNECT_S, "antifraud_read_timeout_s": 5.0, **changes}
            changed = replace(settings, antifraud_address=url.format(port), **limits)
            return stack.enter_context(closing(AntifraudClient(changed)))

        yield create


def _ask(client: AntifraudClient) -> Verdict:
    return client.ask("ann@example.com", uuid4())


def test_connections_are_reused(connect: Connect) -> None:
    """Consecutive calls share a connection."""
    with Service(_sized(YES)) as service:
        client = connect(service.port)
        assert [_ask(client) for _ in range(3)] == [ALLOWED] * 3
        assert [len(requests) for requests in service.requests] == [3]


def test_closed_connection_is_replaced(connect: Connect) -> None:
    """A connection that the server closed while it was idle is replaced, and the call succeeds."""
    with Service(_sized(YES)) as service:
        client = connect(service.port)
        _ask(client)
        service.close_connection()
        assert _ask(client) == ALLOWED
        assert [len(requests) for requests in service.requests] == [1, 1]


@pytest.mark.parametrize("head", [b"Connection: close\r\nContent-Length: 12\r\n\r\n", b"\r\n"])
def test_server_that_closes(connect: Connect, head: bytes) -> None:
    """A connection that the server closes after its response is not reused."""
    with Service(OK + head + YES, closes=True) as service:
        client = connect(service.port)
        assert [_ask(client) for _ in range(2)] == [ALLOWED] * 2
        assert len(service.requests) == 2


def test_request(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request has the path and the credentials of the URL. Proxies of the environment are not used."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    promo_id = uuid4()
    with Service(_sized(YES)) as service:
        connect(service.port, "http://ann:p%40ss@127.0.0.1:{}/a%20<b").ask("ann@example.com", promo_id)
    [[request]] = service.requests
    assert request.startswith(b"POST /a%20%3Cb/api/validate HTTP/1.1\r\n")
    assert f"\r\nHost: 127.0.0.1:{service.port}\r\n".encode() in request
    assert b"\r\nAuthorization: Basic " + b64encode(b"ann:p@ss") + b"\r\n" in request
    assert b"\r\nContent-Type: application/json\r\n" in request
    body = {"user_email": "ann@example.com", "promo_id": str(promo_id)}
    assert json.loads(request.partition(b"\r\n\r\n")[2]) == body


def test_redirects_are_not_followed(connect: Connect) -> None:
    """A redirect is no verdict."""
    response = b"HTTP/1.1 307 Elsewhere\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    with Service(response) as service, pytest.raises(NoVerdict, match=r"^status 307$"):
        _ask(connect(service.port))


@pytest.mark.parametrize(
    ("response", "closes"),
    [(_sized(MAX_BODY), False), (_chunked(MAX_BODY), False), (OK + b"\r\n" + MAX_BODY, True)],
)
def test_longest_response(connect: Connect, response: bytes, closes: bool) -> None:
    """A body of 64 KiB is accepted."""
    with Service(response, closes=closes) as service:
        assert _ask(connect(service.port)) == ALLOWED


@pytest.mark.parametrize(
    "response",
    [
        _sized(MAX_BODY + b" "),
        _chunked(MAX_BODY + b" "),
        OK + b"\r\n" + MAX_BODY + b" ",
        OK + b"Content-Length: 13\r\n\r\n" + YES,
        OK + b"Transfer-Encoding: chunked\r\n\r\nd\r\n" + YES,
        OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n" + YES,
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + YES,
        OK + b"X: y\r\n" * 101 + b"\r\n",
        b"hello\r\n\r\n",
        b"",
    ],
)
def test_invalid_responses(connect: Connect, response: bytes) -> None:
    """A response that is too long, incomplete or not HTTP is no verdict."""
    with Service(response, closes=True) as service, pytest.raises(NoVerdict):
        _ask(connect(service.port))


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
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: addresses)


def test_next_address(connect: Connect, blackhole: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """If an address of the host does not respond, the client connects to the next address."""
    with Service(_sized(YES)) as service:
        _resolve(monkeypatch, blackhole, service.port)
        assert _ask(connect(service.port)) == ALLOWED


def test_mute_tls_server(connect: Connect) -> None:
    """The TLS handshake ends after the connect timeout."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        client = connect(mute.getsockname()[1], "https://127.0.0.1:{}")
        began_s = monotonic()
        with pytest.raises(TimeoutError):
            client.ping()
        assert CONNECT_S <= monotonic() - began_s < CONNECT_S + SLACK_S
