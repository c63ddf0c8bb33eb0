"""Limits of connections: the longest idle connections are closed first."""

from time import perf_counter
from typing import Any

import pytest

from promo_api.server import slow_clients
from promo_api.server.connection_limits import AddressLimit, ConnectionLimit
from tests.server.connection import GET, HEAD, LARGE, TIMEOUT_S, Connection, run


class _Client:
    """A connection of a client address; `None` in `idle_since_s`: it has a request."""

    def __init__(self, address: str, idle_since_s: float | None) -> None:
        self.client = (address, 1)
        self.idle_since_s = idle_since_s
        self.reasons: list[str] = []

    def close_for(self, reason: str) -> None:
        """Record why the connection is closed."""
        self.reasons.append(reason)
        self.idle_since_s = None


def _add(limit: AddressLimit, *connections: Any) -> list[str]:
    """Add connections, and return `x` for each that is closed then, and an empty string for the others."""
    for connection in connections:
        limit.add(connection)
    return ["x" if connection.reasons == ["address"] else "" for connection in connections]


def _same(*idle_since_s: float | None) -> list[Any]:
    return [_Client("192.0.2.1", since_s) for since_s in idle_since_s]


def test_longest_idle_connection_is_closed() -> None:
    """Beyond the limit the longest idle connection of the address is closed, and none that has a request."""
    assert _add(AddressLimit(3), *_same(5, None, 3, 6, 7)) == ["x", "", "x", "", ""]


def test_new_connection_is_closed() -> None:
    """If no connection of the address is idle, the new one is closed."""
    assert _add(AddressLimit(2), *_same(None, None, 3, 4)) == ["", "", "x", "x"]


def test_connection_that_is_busy_again_stays_open() -> None:
    """A connection that has a request again is not closed, even if it was idle when the limit was first reached."""
    limit, connections = AddressLimit(3), _same(1, 2, 3, 4)
    assert _add(limit, *connections) == ["x", "", "", ""]
    connections[1].idle_since_s = None
    [new] = _same(5)
    assert _add(limit, new) == [""]
    assert [each.reasons for each in connections] == [["address"], [], ["address"], []]


def test_ended_connections_do_not_count() -> None:
    """A connection that has ended makes room for another one, and leaves nothing in memory."""
    limit, connections = AddressLimit(2), _same(1, 2)
    _add(limit, *connections)
    for connection in connections:
        limit.remove(connection)
    assert limit._clients == {}
    assert _add(limit, *_same(3, 4)) == ["", ""]


@pytest.mark.parametrize(
    ("addresses", "closed"),
    [
        (("192.0.2.1", "192.0.2.2"), ["", ""]),
        (("2001:db8::1", "2001:db8::ffff:1"), ["x", ""]),
        (("2001:db8::1", "2001:db8:0:1::1"), ["", ""]),
        (("::ffff:192.0.2.1", "192.0.2.1"), ["x", ""]),
    ],
)
def test_addresses(addresses: tuple[str, str], closed: list[str]) -> None:
    """Each IPv4 address and each /64 of IPv6 has its own limit."""
    assert _add(AddressLimit(1), *(_Client(address, since_s) for since_s, address in enumerate(addresses))) == closed


def test_limit_includes_pending_connections() -> None:
    """Connections that are being accepted count too."""
    limit = ConnectionLimit(_same(1, 2), 4)
    assert (limit.is_reached(1), limit.is_reached(2)) == (False, True)


def test_first_byte_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without a first byte is closed after its own time limit, long before a keep-alive ends."""
    assert slow_clients.FIRST_BYTE_S == 10
    monkeypatch.setattr(slow_clients, "FIRST_BYTE_S", 0.1)

    async def main(connection: Connection) -> None:
        assert await connection.receive() == b""
        assert connection.closed_for == ["no_request"]

    run(main)


def test_keep_alive_after_the_first_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its first request a connection may be idle until its keep-alive ends."""
    monkeypatch.setattr(slow_clients, "FIRST_BYTE_S", 0.3)

    async def main(connection: Connection) -> None:
        connection.send(GET)
        assert await connection.receive()
        assert await connection.receive() == b""
        assert connection.closed_for == ["idle"]

    run(main, keep_alive_s=1)


def _waited_s(connection: Connection) -> float | None:
    since_s = connection.protocol.idle_since_s
    return None if since_s is None else perf_counter() - since_s


@pytest.mark.parametrize("sent", [b"", GET[:-2], HEAD + b"12345", GET, b"\r\n"])
def test_idle_since(sent: bytes) -> None:
    """The server waits for the client before a request, between requests and during an incomplete request."""

    async def main(connection: Connection) -> None:
        connection.send(sent)
        if sent == GET:
            await connection.receive_responses(1)
        waited_s = _waited_s(connection)
        assert waited_s is not None
        assert -0.1 < waited_s < 5

    run(main)


@pytest.mark.parametrize("sent", [GET, GET * 100])
def test_connection_with_a_request_is_not_idle(sent: bytes) -> None:
    """A connection with a running request or stored input is not idle, and neither is a closed connection."""

    async def main(connection: Connection) -> None:
        connection.application.may_respond.clear()
        connection.send(sent)
        assert _waited_s(connection) is None
        connection.protocol.close_for("files")
        assert _waited_s(connection) is None
        assert connection.closed_for == ["files"]

    run(main)


def test_connection_with_an_unread_response_is_not_idle() -> None:
    """A connection with an unread response is not closed to make room. It has another time limit."""

    async def main(connection: Connection) -> None:
        connection.application.size_bytes = LARGE
        connection.send(GET)
        while not connection.protocol.unread_bytes:
            await connection.receive()
        assert _waited_s(connection) is None
        connection.check_after(0)
        connection.check_after(TIMEOUT_S + 1)
        assert connection.closed_for == ["slow_response"]

    run(main)
