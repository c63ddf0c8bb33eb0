"""A load balancer and a constant load of clients behind it.

With health checks the balancer sends requests only to instances whose last check returned 200, and a refused connection
is a failure. Without them it tries the next instance if a connection is refused. It never sends a request twice,
because an activation counts.
"""

import select
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from itertools import count
from threading import Barrier, Event, Thread
from types import TracebackType
from typing import Self

from promo_api.dev.processes import wait_until

_HOST = "127.0.0.1"
_TIMEOUT_S = 30
_CHECK_INTERVAL_S = 0.05


class NoInstanceError(Exception):
    """No instance accepts a connection."""


class Balancer:
    """The connections of one client to all instances, which are used in turn.

    Args:
        ports: of the instances.
        keep_alive: whether connections are reused.
        checks: the health checks of the instances; None: there are none.
    """

    def __init__(self, ports: Sequence[int], *, keep_alive: bool, checks: "HealthChecks | None" = None) -> None:
        self._ports = ports
        self._keep_alive = keep_alive
        self._checks = checks
        self._turn = count()
        self._connections: dict[int, HTTPConnection] = {}

    def post(self, path: str, headers: Mapping[str, str]) -> tuple[int, int]:
        """Send a request; return the port of the instance and the status.

        Raises:
            NoInstanceError: nothing was sent.
            OSError, HTTPException: it was sent, but there was no response.
        """
        port, connection = self._connection()
        connection.request("POST", path, headers=headers)
        response = connection.getresponse()
        response.read()
        if response.will_close or not self._keep_alive:
            self._connections.pop(port).close()
        return port, response.status

    def close(self) -> None:
        """Close all connections."""
        while self._connections:
            self._connections.popitem()[1].close()

    def _connection(self) -> tuple[int, HTTPConnection]:
        turn = next(self._turn)
        for offset in range(len(self._ports)):
            port = self._ports[(turn + offset) % len(self._ports)]
            if self._checks is not None and port not in self._checks.healthy:
                continue
            idle = self._connections.get(port)
            if idle is not None and not _is_closed(idle):
                return port, idle
            if idle is not None:
                idle.close()
            self._connections[port] = connection = HTTPConnection(_HOST, port, timeout=_TIMEOUT_S)
            try:
                connection.connect()
            except OSError:
                del self._connections[port]
                if self._checks is not None:
                    raise
            else:
                return port, connection
        raise NoInstanceError


def _is_closed(connection: HTTPConnection) -> bool:
    """Return whether the server has closed an idle connection: then it is readable."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


class _Threads:
    """Threads that run during the block, until `_end` is set."""

    def __init__(self, threads: Iterable[Thread]) -> None:
        self._end = Event()
        self._threads = list(threads)

    def __enter__(self) -> Self:
        """Start the threads."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the threads, each after its current step."""
        self._end.set()
        for thread in self._threads:
            thread.join()


class HealthChecks(_Threads):
    """Checks `GET /api/health` of each instance every 50 ms, in threads that end with a block.

    Attributes:
        healthy: the ports of the instances whose last check returned 200.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        super().__init__(Thread(target=self._repeat, args=(port,)) for port in ports)
        self.healthy: set[int] = set()
        self._first = Barrier(len(ports) + 1)

    def __enter__(self) -> Self:
        """Start the checks, and wait for the first result of each."""
        super().__enter__()
        self._first.wait(_TIMEOUT_S)
        return self

    def _repeat(self, port: int) -> None:
        self._check(port)
        self._first.wait(_TIMEOUT_S)
        while not self._end.wait(_CHECK_INTERVAL_S):
            self._check(port)

    def _check(self, port: int) -> None:
        status = 0
        with suppress(OSError, HTTPException), closing(HTTPConnection(_HOST, port, timeout=_TIMEOUT_S)) as connection:
            connection.request("GET", "/api/health")
            status = connection.getresponse().status
        (self.healthy.add if status == HTTPStatus.OK else self.healthy.discard)(port)


class BalancedLoad(_Threads):
    """Clients that repeat a request during the block.

    Args:
        ports: of the instances.
        path: of the request, a POST.
        headers: of the request.
        persistent: how many clients reuse their connections.
        short_lived: how many open a connection for each request.
        checks: the health checks of the instances; None: there are none.

    Attributes:
        responses: the count of responses by port and status.
        failures: the errors of requests without a response.
    """

    def __init__(
        self,
        ports: Sequence[int],
        path: str,
        headers: Mapping[str, str],
        *,
        persistent: int,
        short_lived: int,
        checks: HealthChecks | None = None,
    ) -> None:
        balancers = [
            Balancer(ports, keep_alive=number < persistent, checks=checks) for number in range(persistent + short_lived)
        ]
        super().__init__(Thread(target=self._send_requests, args=(balancer,)) for balancer in balancers)
        self.responses: Counter[tuple[int, int]] = Counter()
        self.failures: list[str] = []
        self._path, self._headers = path, headers

    def wait_for(self, port: int, responses: int) -> None:
        """Wait until an instance has sent `responses` more responses."""
        wanted = self._count_responses(port) + responses
        assert wait_until(lambda: self._count_responses(port) >= wanted, _TIMEOUT_S), self.failures

    def _count_responses(self, port: int) -> int:
        return sum(number for (sender, _), number in self.responses.copy().items() if sender == port)

    def _send_requests(self, balancer: Balancer) -> None:
        while not self._end.is_set():
            try:
                response = balancer.post(self._path, self._headers)
            except (NoInstanceError, OSError, HTTPException) as error:
                self.failures.append(repr(error))
                balancer.close()
            else:
                self.responses[response] += 1
        balancer.close()
