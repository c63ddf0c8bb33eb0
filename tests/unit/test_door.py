"""How connections are taken in: shared with those who listen on the same socket, and never given up."""

import asyncio
import errno
import os
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import ClassVar, cast

import pytest

from promo_api import door
from promo_api.door import Door


class _Guests:
    """The connections that some doors have taken in; `there` is set once there are so many."""

    def __init__(self, number: int) -> None:
        self._missing = number
        self.there = asyncio.Event()
        self.of_door = Counter[str]()

    def count(self, door: str) -> None:
        """Count a connection for a door."""
        self.of_door[door] += 1
        self._missing -= 1
        if not self._missing:
            self.there.set()


class _Guest(asyncio.Protocol):
    """A connection, which is counted."""

    def __init__(self, guests: _Guests, door: str) -> None:
        self._guests, self._door = guests, door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it, and end it."""
        cast("asyncio.Transport", transport).abort()
        self._guests.count(self._door)


class _Failing(socket.socket):
    """A listening socket that raises each of some errors once, before it accepts."""

    errors: ClassVar[list[Exception]]

    def accept(self) -> tuple[socket.socket, object]:
        """Fail while errors are left."""
        if self.errors:
            raise self.errors.pop(0)
        return super().accept()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that listens, as gunicorn hands it over."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)  # noqa: FBT003 its only parameter
        yield listening


def _connect(listener: socket.socket, number: int) -> list[socket.socket]:
    return [socket.create_connection(listener.getsockname()) for _ in range(number)]


async def _let_in(guests: _Guests, doors: dict[str, socket.socket]) -> None:
    """Open the doors until all guests are there."""
    opened = [Door(listener, partial(_Guest, guests, name)) for name, listener in doors.items()]
    async with asyncio.timeout(10):
        await guests.there.wait()
    for each in opened:
        each.close()


def test_doors_share_what_comes_together(listener: socket.socket) -> None:
    """Of connections that are made at one moment, each of four who listen takes its part, give or take a few."""
    with ExitStack() as stack:
        for client in _connect(listener, 32):
            stack.enter_context(client)
        doors = {name: stack.enter_context(listener.dup()) for name in "abcd"}
        guests = _Guests(32)
        asyncio.run(_let_in(guests, doors))
    assert max(guests.of_door.values()) <= 12


def test_connection_waits_while_no_more_can_be_opened(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Any error while a connection is accepted is logged, and the connection is accepted later."""
    monkeypatch.setattr(door, "_OUT_OF_RESOURCES_S", 0.01)
    errors = [OSError(errno.EMFILE, os.strerror(errno.EMFILE)), ValueError("a defect")]
    monkeypatch.setattr(_Failing, "errors", errors, raising=False)
    guests = _Guests(1)
    with _Failing(fileno=listener.detach()) as failing, _connect(failing, 1)[0]:
        asyncio.run(_let_in(guests, {"a": failing}))
    told = [record for record in caplog.records if record.name == door.__name__]
    assert [(record.getMessage(), vars(record)["reason"]) for record in told] == [
        ("accept_failed", "Too many open files"),
        ("accept_failed", "ValueError"),
    ]
    assert guests.of_door == {"a": 1}


def test_closed_door(listener: socket.socket) -> None:
    """Who waits when a door is closed, be it in its pause, is let in, and nobody after that: the next one does it."""
    early, late = _Guests(5), _Guests(2)

    async def main(stack: ExitStack) -> None:
        first = Door(stack.enter_context(listener.dup()), partial(_Guest, early, "first"))
        for client in _connect(listener, 5):
            stack.enter_context(client)
        first.close()
        for client in _connect(listener, 2):
            stack.enter_context(client)
        await first.wait_closed()
        async with asyncio.timeout(10):
            await early.there.wait()
        await _let_in(late, {"second": listener})

    with ExitStack() as stack:
        asyncio.run(main(stack))
    assert early.of_door + late.of_door == {"first": 5, "second": 2}
