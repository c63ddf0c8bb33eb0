"""Slow clients are disconnected after the timeout, and other clients are not affected."""

import json
import socket
from collections.abc import Iterator

import pytest

from promo_api.dev.processes import wait_until
from tests.e2e.environment import assert_no_secrets
from tests.e2e.raw import fields, received, request
from tests.e2e.server import Server

_TIMEOUT_S = 30
_MANY = 200
_WHOLE = request(b"POST", b"/api/user/auth/sign-in", b"Content-Type: application/json", body=b'{"email": "a@b.c"}')


@pytest.fixture(scope="module")
def server(e2e_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a client timeout of one second."""
    environment = e2e_environment | {"SERVER_CLIENT_TIMEOUT_S": "1"}
    with Server(environment, tmp_path_factory.mktemp("server")) as server:
        yield server
    assert_no_secrets(server)


def _send_start(server: Server, message: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=_TIMEOUT_S)
    connection.sendall(message)
    return connection


def _receive_all(connection: socket.socket) -> bytes:
    """Return all bytes until the server closes the connection."""
    content = b""
    with connection:
        while part := connection.recv(65536):
            content += part
    return content


@pytest.mark.parametrize("length", [1, 60, len(_WHOLE) - 1])
def test_incomplete_request(server: Server, length: int) -> None:
    """An incomplete head or body gets 408 with the common error body, and is logged."""
    head, _, body = _receive_all(_send_start(server, _WHOLE[:length])).partition(b"\r\n\r\n")
    headers = fields(head)
    assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert (headers["connection"], headers["x-content-type-options"]) == ("close", "nosniff")
    assert json.loads(body) == {
        "status": "error",
        "code": "request_timeout",
        "message": "The rest of this request did not arrive in time.",
    }
    assert wait_until(lambda: _logged(server, headers["x-request-id"]) == [408], _TIMEOUT_S)


def _logged(server: Server, request_id: str) -> list[int]:
    """Return the statuses of a request in the log."""
    return [line["status"] for line in server.lines() if line.get("request_id") == request_id]


def test_empty_lines(server: Server) -> None:
    """A connection with empty lines only is closed without a response."""
    assert _receive_all(_send_start(server, b"\r\n\r\n")) == b""


def test_many_slow_clients(server: Server) -> None:
    """Many slow clients are disconnected, and other requests succeed meanwhile."""
    slow = [_send_start(server, _WHOLE[:60]) for _ in range(_MANY)]
    assert server.responds()
    assert {_receive_all(connection)[:12] for connection in slow} == {b"HTTP/1.1 408"}


def test_keep_alive(server: Server) -> None:
    """A connection may be idle for longer between two requests."""
    with _send_start(server, request(b"GET", b"/api/ping")) as connection:
        assert received(connection).startswith(b"HTTP/1.1 200")
        slow = _send_start(server, _WHOLE[:60])
        assert _receive_all(slow).startswith(b"HTTP/1.1 408")  # more than a second later
        connection.sendall(request(b"GET", b"/api/ping"))
        assert received(connection).startswith(b"HTTP/1.1 200")
