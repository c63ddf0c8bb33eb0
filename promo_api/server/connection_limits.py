"""Limits for connections."""

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from heapq import nsmallest
from operator import itemgetter

from promo_api.contract.client_address import client_network
from promo_api.server.slow_clients import TimeLimitProtocol

# To make room: one of 16, at least 16.
_CLOSED_SHARE = 16
_MIN_CLOSED = 16
_Idle = tuple[TimeLimitProtocol, float]


class ConnectionLimit:
    """Limits the connections of a worker. The caller updates the collection."""

    def __init__(self, connections: Collection[TimeLimitProtocol], max_connections: int) -> None:
        self._connections = connections
        self._max_connections = max_connections

    def is_reached(self, pending: int) -> bool:
        """Return whether the limit is reached."""
        return len(self._connections) + pending >= self._max_connections

    def make_room(self) -> int:
        """Close the longest idle connections; return their number."""
        number = max(_MIN_CLOSED, len(self._connections) // _CLOSED_SHARE)
        idle = _longest_idle(self._connections, number)
        for connection, _ in idle:
            connection.close_for("files")
        return len(idle)


@dataclass
class _Client:
    """The connections of an address; `idle` holds candidates for closing, and the start of their idle time."""

    connections: set[TimeLimitProtocol] = field(default_factory=set)
    idle: deque[_Idle] = field(default_factory=deque)


class AddressLimit:
    """Limits the connections of each client address or IPv6 /64 network."""

    def __init__(self, max_connections: int) -> None:
        self._max_connections = max_connections
        self._clients: dict[str, _Client] = {}

    def add(self, connection: TimeLimitProtocol) -> None:
        """Beyond the limit, close the longest idle connection, or else the new one."""
        if not connection.client:  # of a Unix socket
            return
        client = self._clients.setdefault(client_network(connection.client[0]), _Client())
        client.connections.add(connection)
        if len(client.connections) > self._max_connections:
            closed = _pop_longest_idle(client) or connection
            client.connections.discard(closed)
            closed.close_for("address")

    def remove(self, connection: TimeLimitProtocol) -> None:
        """Remove a closed connection."""
        network = client_network(connection.client[0]) if connection.client else ""
        client = self._clients.get(network)
        if client is not None:
            client.connections.discard(connection)
            if not client.connections:
                del self._clients[network]


def _pop_longest_idle(client: _Client) -> TimeLimitProtocol | None:
    # Several at once, because a search is slow.
    for _ in range(2):
        while client.idle:
            connection, since_s = client.idle.popleft()
            if connection in client.connections and connection.idle_since_s == since_s:
                return connection
        client.idle.extend(_longest_idle(client.connections, _MIN_CLOSED))
    return None


def _longest_idle(connections: Iterable[TimeLimitProtocol], number: int) -> list[_Idle]:
    idle = [(each, since_s) for each in connections if (since_s := each.idle_since_s) is not None]
    return nsmallest(number, idle, key=itemgetter(1))
