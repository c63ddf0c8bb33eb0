"""Slow clients of a running server: each is cut in the time that is set, and nobody else notices."""

import json
import socket
from collections.abc import Iterator

import pytest

from promo_api.sandbox.processes import wait_until
from tests.e2e.conftest import assert_discreet
from tests.e2e.raw import fields, received, request
from tests.e2e.server import Server

_PATIENCE_S = 30
_MANY = 200
_WHOLE = request(b"POST", b"/api/user/auth/sign-in", b"Content-Type: application/json", body=b'{"email": "a@b.c"}')


@pytest.fixture(scope="module")
def hasty(e2e_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that waits for no client longer than a second."""
    environment = e2e_environment | {"SERVER_CLIENT_TIMEOUT_S": "1"}
    with Server(environment, tmp_path_factory.mktemp("hasty")) as server:
        yield server
    assert_discreet(server)


def _begun(server: Server, message: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=_PATIENCE_S)
    connection.sendall(message)
    return connection


def _end(connection: socket.socket) -> bytes:
    """Return all that comes until the server ends the connection."""
    content = b""
    with connection:
        while part := connection.recv(65536):
            content += part
    return content


@pytest.mark.parametrize("length", [1, 60, len(_WHOLE) - 1])
def test_request_without_an_end(hasty: Server, length: int) -> None:
    """The head or the body of a request that does not come is 408, in the one shape, and has its line in the log."""
    head, _, body = _end(_begun(hasty, _WHOLE[:length])).partition(b"\r\n\r\n")
    told = fields(head)
    assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert (told["connection"], told["x-content-type-options"]) == ("close", "nosniff")
    assert json.loads(body) == {"status": "error", "message": "The rest of this request did not come in time."}
    assert wait_until(lambda: _logged(hasty, told["x-request-id"]) == [408], _PATIENCE_S)


def _logged(server: Server, request_id: str) -> list[int]:
    """Return the statuses that the log tells of a request."""
    return [line["status"] for line in server.lines() if line.get("request_id") == request_id]


def test_empty_lines(hasty: Server) -> None:
    """Who sends empty lines, and nothing else, gets nothing."""
    assert _end(_begun(hasty, b"\r\n\r\n")) == b""


def test_many_of_them(hasty: Server) -> None:
    """As many as there may be: the others are answered meanwhile, and all of them are cut."""
    slow = [_begun(hasty, _WHOLE[:60]) for _ in range(_MANY)]
    assert hasty.answers()
    assert {_end(connection)[:12] for connection in slow} == {b"HTTP/1.1 408"}


def test_connection_that_is_kept(hasty: Server) -> None:
    """Between two requests a connection may be silent for longer."""
    with _begun(hasty, request(b"GET", b"/api/ping")) as connection:
        assert received(connection).startswith(b"HTTP/1.1 200")
        slow = _begun(hasty, _WHOLE[:60])
        assert _end(slow).startswith(b"HTTP/1.1 408")  # more than a second later
        connection.sendall(request(b"GET", b"/api/ping"))
        assert received(connection).startswith(b"HTTP/1.1 200")
