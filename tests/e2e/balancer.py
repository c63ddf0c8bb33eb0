"""A load balancer with the least of manners, and clients behind it that don't stop asking.

It goes to the next instance when a connection can't be made, or has been closed before anything was sent over it. What
has been sent is never sent again: nobody knows what became of it, and an activation counts.
"""

import select
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from itertools import count
from threading import Event, Thread
from types import TracebackType
from typing import Self

from promo_api.dev.processes import wait_until

_HOST = "127.0.0.1"
_TIMEOUT_S = 30


class NoInstanceError(Exception):
    """No instance takes a connection."""


class Balancer:
    """The connections of one client to all instances; each request goes to the next one in turn.

    Args:
        ports: of the instances.
        keeps: whether connections are used again.
    """

    def __init__(self, ports: Sequence[int], *, keeps: bool) -> None:
        self._ports = ports
        self._keeps = keeps
        self._turn = count()
        self._connections: dict[int, HTTPConnection] = {}

    def post(self, path: str, headers: Mapping[str, str]) -> tuple[int, int]:
        """Send a request; return the port of the instance that answered, and the status.

        Raises:
            NoInstanceError: nothing was sent.
            OSError, HTTPException: it was sent, and not answered.
        """
        port, connection = self._connection()
        connection.request("POST", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        if answer.will_close or not self._keeps:
            self._connections.pop(port).close()
        return port, answer.status

    def close(self) -> None:
        """Close all connections."""
        while self._connections:
            self._connections.popitem()[1].close()

    def _connection(self) -> tuple[int, HTTPConnection]:
        turn = next(self._turn)
        for place in range(len(self._ports)):
            port = self._ports[(turn + place) % len(self._ports)]
            kept = self._connections.get(port)
            if kept is not None and not _is_closed(kept):
                return port, kept
            if kept is not None:
                kept.close()
            self._connections[port] = connection = HTTPConnection(_HOST, port, timeout=_TIMEOUT_S)
            with suppress(OSError):
                connection.connect()
                return port, connection
            del self._connections[port]
        raise NoInstanceError


def _is_closed(connection: HTTPConnection) -> bool:
    """Tell whether the other side has closed a connection: it says nothing else unless it is asked."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


class Load:
    """Clients that send the same request again and again, from the beginning of a block to its end.

    Args:
        ports: of the instances.
        path: of the request, a POST.
        headers: of the request.
        keeping: how many clients keep their connections.
        changing: how many make a new connection for each request.

    Attributes:
        answers: how many there were, by port and status.
        failures: what happened to the requests that have no answer.
    """

    def __init__(
        self, ports: Sequence[int], path: str, headers: Mapping[str, str], *, keeping: int, changing: int
    ) -> None:
        self.answers: Counter[tuple[int, int]] = Counter()
        self.failures: list[str] = []
        self._path, self._headers = path, headers
        self._end = Event()
        balancers = [Balancer(ports, keeps=number < keeping) for number in range(keeping + changing)]
        self._threads = [Thread(target=self._ask, args=(balancer,)) for balancer in balancers]

    def __enter__(self) -> Self:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, once every request that was sent is answered."""
        self._end.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, port: int, answers: int) -> None:
        """Wait until an instance has given so many more answers."""
        wanted = self._answers_of(port) + answers
        assert wait_until(lambda: self._answers_of(port) >= wanted, _TIMEOUT_S), self.failures

    def _answers_of(self, port: int) -> int:
        return sum(number for (by, _), number in self.answers.copy().items() if by == port)

    def _ask(self, balancer: Balancer) -> None:
        while not self._end.is_set():
            try:
                answer = balancer.post(self._path, self._headers)
            except (NoInstanceError, OSError, HTTPException) as error:
                self.failures.append(repr(error))
                balancer.close()
            else:
                self.answers[answer] += 1
        balancer.close()
