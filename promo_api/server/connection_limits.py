"""Limits for the number of connections: of a worker, and of one client address."""

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from heapq import nsmallest
from operator import itemgetter

from promo_api.contract.client_address import client_network
from promo_api.server.slow_clients import PatientReader

# Closed at once when there are no file descriptors left: a share of all connections, so that a flood rarely needs it.
_CLOSED_SHARE = 16
_CLOSED_MIN = 16
_Waiting = tuple[PatientReader, float]


class ConnectionLimit:
    """Limits the connections of a worker.

    Args:
        connections: the open ones; the caller keeps the collection up to date.
        max_connections: how many there may be.
    """

    def __init__(self, connections: Collection[PatientReader], max_connections: int) -> None:
        self._connections = connections
        self._max_connections = max_connections

    def is_reached(self, pending: int) -> bool:
        """Return whether no connection may be added to the open and the pending ones."""
        return len(self._connections) + pending >= self._max_connections

    def make_room(self) -> int:
        """Close the connections that have waited longest for their clients to send, and return their number."""
        number = max(_CLOSED_MIN, len(self._connections) // _CLOSED_SHARE)
        waiting = _longest_waiting(self._connections, number)
        for connection, _ in waiting:
            connection.close_for("files")
        return len(waiting)


@dataclass
class _Client:
    """The connections of one client address, and those to be closed next with the times since when they wait."""

    connections: set[PatientReader] = field(default_factory=set)
    next_closed: deque[_Waiting] = field(default_factory=deque)


class AddressLimit:
    """Limits the connections of each client address; of IPv6, of each /64 network.

    Args:
        max_connections: of one address.
    """

    def __init__(self, max_connections: int) -> None:
        self._max_connections = max_connections
        self._clients: dict[str, _Client] = {}

    def add(self, connection: PatientReader) -> None:
        """Add a new connection. Beyond the limit, close the one that has waited longest, or else the new one."""
        if not connection.client:  # of a Unix socket
            return
        client = self._clients.setdefault(client_network(connection.client[0]), _Client())
        client.connections.add(connection)
        if len(client.connections) > self._max_connections:
            closed = _next_closed(client) or connection
            client.connections.discard(closed)
            closed.close_for("address")

    def remove(self, connection: PatientReader) -> None:
        """Remove a connection that has ended."""
        network = client_network(connection.client[0]) if connection.client else ""
        client = self._clients.get(network)
        if client is not None:
            client.connections.discard(connection)
            if not client.connections:
                del self._clients[network]


def _next_closed(client: _Client) -> PatientReader | None:
    # Several are looked for at once: with a limit of 1000, each search costs more than to accept a connection.
    for _ in range(2):
        while client.next_closed:
            connection, since_s = client.next_closed.popleft()
            if connection in client.connections and connection.waits_since_s == since_s:
                return connection
        client.next_closed.extend(_longest_waiting(client.connections, _CLOSED_MIN))
    return None


def _longest_waiting(connections: Iterable[PatientReader], number: int) -> list[_Waiting]:
    waiting = [(each, since_s) for each in connections if (since_s := each.waits_since_s) is not None]
    return nsmallest(number, waiting, key=itemgetter(1))
