"""The acceptor: workers share new connections, and no error ends accepting."""

import asyncio
import errno
import os
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, cast

import pytest

from promo_api.server import acceptor
from promo_api.server.acceptor import FairAcceptor
from promo_api.server.connection_limits import ConnectionLimit


class _Accepted:
    """Counts the connections of some acceptors; `complete` is set at the expected number."""

    def __init__(self, number: int) -> None:
        self._missing = number
        self.complete = asyncio.Event()
        self.by_acceptor = Counter[str]()

    def count(self, name: str) -> None:
        """Count a connection of an acceptor."""
        self.by_acceptor[name] += 1
        self._missing -= 1
        if not self._missing:
            self.complete.set()


class _CountedProtocol(asyncio.Protocol):
    """A connection that is counted and closed."""

    def __init__(self, accepted: _Accepted, name: str) -> None:
        self._accepted, self._name = accepted, name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it, and close it."""
        cast("asyncio.Transport", transport).abort()
        self._accepted.count(self._name)


class _ExhaustedSocket(socket.socket):
    """A listening socket whose process has no file descriptors left for some calls."""

    failures = 3
    error = errno.EMFILE

    def accept(self) -> tuple[socket.socket, object]:
        """Fail, or accept."""
        if self.failures:
            self.failures -= 1
            raise OSError(self.error, os.strerror(self.error))
        return super().accept()


class _DefectiveSocket(socket.socket):
    """A listening socket whose first accept fails in an unforeseen way."""

    has_failed = False

    def accept(self) -> tuple[socket.socket, object]:
        """Fail once."""
        if not self.has_failed:
            self.has_failed = True
            raise ValueError
        return super().accept()


class _Idle:
    """An open connection that waits for its client; `None` in `idle_since_s`: it does not."""

    def __init__(self, idle_since_s: float | None) -> None:
        self.idle_since_s = idle_since_s
        self.reasons: list[str] = []

    def close_for(self, reason: str) -> None:
        """Record why the connection is closed."""
        self.reasons.append(reason)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listening socket as gunicorn makes it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)  # noqa: FBT003 its only parameter
        yield listening


def _connect(listener: socket.socket, number: int) -> list[socket.socket]:
    return [socket.create_connection(listener.getsockname()) for _ in range(number)]


def _limit(max_connections: int = 1000, connections: Any = ()) -> ConnectionLimit:
    return ConnectionLimit(connections, max_connections)


async def _accept_all(
    accepted: _Accepted, listeners: dict[str, socket.socket], limit: ConnectionLimit | None = None
) -> None:
    """Run an acceptor for each listener until all connections have been accepted."""
    running = [
        FairAcceptor(listener, partial(_CountedProtocol, accepted, name), limit or _limit())
        for name, listener in listeners.items()
    ]
    async with asyncio.timeout(10):
        await accepted.complete.wait()
    for each in running:
        each.close()


def test_acceptors_share_simultaneous_connections(listener: socket.socket) -> None:
    """Of 32 connections made at one moment, none of four processes accepts more than 12."""
    with ExitStack() as stack:
        for client in _connect(listener, 32):
            stack.enter_context(client)
        listeners = {name: stack.enter_context(listener.dup()) for name in "abcd"}
        accepted = _Accepted(32)
        asyncio.run(_accept_all(accepted, listeners))
    assert max(accepted.by_acceptor.values()) <= 12


def _shortages(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, int]]:
    records = [record for record in caplog.records if record.name == acceptor.__name__]
    return [(record.getMessage(), vars(record)["reason"], vars(record)["closed"]) for record in records]


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENOMEM])
def test_shortage_is_logged_once(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: int
) -> None:
    """While connections can't be opened they wait, and one line says so."""
    monkeypatch.setattr(acceptor, "_FAILURE_PAUSE_S", 0.01)
    accepted = _Accepted(1)
    with _ExhaustedSocket(fileno=listener.detach()) as exhausted, _connect(exhausted, 1)[0]:
        exhausted.error = error
        asyncio.run(_accept_all(accepted, {"a": exhausted}))
    assert _shortages(caplog) == [("accept_failed", os.strerror(error), 0)]
    assert accepted.by_acceptor == {"a": 1}


@pytest.mark.parametrize(("error", "closed"), [(errno.EMFILE, 16), (errno.ENFILE, 16), (errno.ENOMEM, 0)])
def test_shortage_of_files_closes_idle_connections(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: int, closed: int
) -> None:
    """Without file descriptors the longest idle connections are closed, none with a request, and accepting goes on."""
    monkeypatch.setattr(acceptor, "_FAILURE_PAUSE_S", 0 if error == errno.ENOMEM else 60)
    idle = [_Idle(float(since)) for since in range(40)]
    busy = [_Idle(None) for _ in range(10)]
    with _ExhaustedSocket(fileno=listener.detach()) as exhausted, _connect(exhausted, 1)[0]:
        exhausted.error, exhausted.failures = error, 1
        accepted = _Accepted(1)
        asyncio.run(_accept_all(accepted, {"a": exhausted}, _limit(connections=[*busy, *reversed(idle)])))
    assert _shortages(caplog) == [("accept_failed", os.strerror(error), closed)]
    assert [each.reasons for each in idle] == [["files"]] * closed + [[]] * (40 - closed)
    assert not any(each.reasons for each in busy)


def test_defect_does_not_end_accepting(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Any other error while a connection is accepted is logged, and the connection is accepted later."""
    monkeypatch.setattr(acceptor, "_FAILURE_PAUSE_S", 0.01)
    accepted = _Accepted(1)
    with _DefectiveSocket(fileno=listener.detach()) as defective, _connect(defective, 1)[0]:
        asyncio.run(_accept_all(accepted, {"a": defective}))
    assert _shortages(caplog) == [("accept_failed", "ValueError", 0)]
    assert accepted.by_acceptor == {"a": 1}


def test_limit_of_connections(listener: socket.socket) -> None:
    """At its limit a worker accepts no connection before another one has been closed."""
    open_connections: list[Any] = [_Idle(None) for _ in range(4)]
    accepted = _Accepted(1)

    async def main() -> None:
        limit = _limit(4, open_connections)
        running = FairAcceptor(listener, partial(_CountedProtocol, accepted, "a"), limit)
        with _connect(listener, 1)[0]:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await accepted.complete.wait()
            open_connections.pop()
            async with asyncio.timeout(10):
                await accepted.complete.wait()
        running.close()

    asyncio.run(main())


def test_large_number_of_connections_closed() -> None:
    """Of many connections a sixteenth is closed at once."""
    connections: Any = [_Idle(1.0) for _ in range(1600)]
    assert _limit(1600, connections).make_room() == 100


def test_close(listener: socket.socket) -> None:
    """Connections that wait when an acceptor is closed are accepted, even in its pause; later ones are not."""
    early, late = _Accepted(5), _Accepted(2)

    async def main(stack: ExitStack) -> None:
        first = FairAcceptor(stack.enter_context(listener.dup()), partial(_CountedProtocol, early, "first"), _limit())
        for client in _connect(listener, 5):
            stack.enter_context(client)
        first.close()
        for client in _connect(listener, 2):
            stack.enter_context(client)
        await first.wait_closed()
        async with asyncio.timeout(10):
            await early.complete.wait()
        await _accept_all(late, {"second": listener})

    with ExitStack() as stack:
        asyncio.run(main(stack))
    assert early.by_acceptor + late.by_acceptor == {"first": 5, "second": 2}
