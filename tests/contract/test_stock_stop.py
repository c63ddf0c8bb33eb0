"""Why the stop is our own, and what it is built on: what uvicorn and gunicorn do when they are asked to stop.

A test here that fails says that one of them has changed: what it names may have become unnecessary, or wrong.
"""

import asyncio
import ctypes
import logging
import os
import signal
import socket
import struct
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvloop
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config as GunicornConfig
from gunicorn.sock import TCPSocket
from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState
from uvicorn_worker import UvicornWorker

from promo_api.dev.processes import wait_until
from promo_api.gunicorn_conf import _SO_ATTACH_FILTER, Master, drop_newcomers, gunicorn_options
from promo_api.settings import Settings


async def _app(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def _run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


@asynccontextmanager
async def _connection() -> AsyncIterator[tuple[socket.socket, HttpToolsProtocol]]:
    """Make a connection to a stock protocol; yield the end of the client, and the protocol."""
    client, server = socket.socketpair()
    with client:
        client.setblocking(False)  # noqa: FBT003 the standard library's
        config = Config(_app, log_config=None)
        _, protocol = await asyncio.get_running_loop().connect_accepted_socket(
            lambda: HttpToolsProtocol(config, ServerState(), {}), server
        )
        yield client, protocol


@pytest.fixture
def listener() -> Iterator[TCPSocket]:
    """A listening socket as gunicorn makes it."""
    made = TCPSocket(("127.0.0.1", 0), GunicornConfig(), logging.getLogger(__name__))
    with made.sock:
        yield made


def test_stock_closes_connections_at_once() -> None:
    """Where no request runs the connection is closed at once: why contract/protocol.py has its own `shutdown`."""

    async def main() -> None:
        async with _connection() as (client, protocol):
            protocol.shutdown()
            assert await asyncio.get_running_loop().sock_recv(client, 1) == b""

    _run(main())


def test_stock_reads_keep_alive_when_the_answer_begins() -> None:
    """Until its answer begins a request can be told that it is the last one: contract/protocol.py does."""

    async def main() -> None:
        async with _connection() as (client, protocol):
            protocol.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert not protocol.cycle.response_started
            protocol.cycle.keep_alive = False
            loop = asyncio.get_running_loop()
            assert b"\r\nconnection: close\r\n" in await loop.sock_recv(client, 1000)
            assert await loop.sock_recv(client, 1) == b""

    _run(main())


def test_stock_worker_serves_on_after_sigquit() -> None:
    """SIGQUIT only sets what uvicorn never reads: why the worker of gunicorn_conf.py has a handler of its own."""
    worker = object.__new__(UvicornWorker)
    worker.alive = True
    before = dict(vars(worker))

    async def main() -> None:
        worker._install_sigquit_handler()
        os.kill(os.getpid(), signal.SIGQUIT)
        assert await asyncio.to_thread(wait_until, lambda: not worker.alive, 10)

    _run(main())
    assert vars(worker) == before | {"alive": False}


class _Recorder:
    """Stands for a connection and for the lifespan, and notes when they are told to end."""

    def __init__(self, told: list[str], name: str) -> None:
        self._told, self._name = told, name

    def shutdown(self) -> Any:
        """Note it; who is a lifespan may be awaited."""
        self._told.append(self._name)
        return asyncio.get_running_loop().run_in_executor(None, int)


@pytest.mark.parametrize("timed_out", [False, True])
def test_stock_order_of_a_stop(timed_out: bool) -> None:
    """Connections are told, then waited for, then the handlers' threads; with `force_exit` set those are not."""
    told: list[str] = []

    class Waiting(Server):
        async def _wait_tasks_to_complete(self) -> None:
            told.append("wait")
            self.force_exit = timed_out

    async def main() -> None:
        server = Waiting(Config(_app, log_config=None))
        server.servers = []
        server.server_state.connections = {_Recorder(told, "connection")}
        server.lifespan = _Recorder(told, "lifespan")
        await server.shutdown([])

    _run(main())
    assert told == ["connection", "wait", *([] if timed_out else ["lifespan"])]


def test_backlog_is_told(listener: TCPSocket) -> None:
    """It is told how many connections wait to be accepted: gunicorn_conf.py waits until there are none."""
    waiting = [socket.create_connection(listener.getsockname()) for _ in range(3)]
    assert listener.get_backlog() == 3
    listener.accept()[0].close()
    assert listener.get_backlog() == 2
    for connection in waiting:
        connection.close()


def _kernel_obeys() -> bool:
    """Tell whether this process may attach a filter that lets everything through."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0xFFFFFFFF))
    with socket.create_server(("127.0.0.1", 0)) as listening, suppress(OSError):
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(program)))
        return True
    return False


_obedient = pytest.mark.skipif(not _kernel_obeys(), reason="this kernel drops newcomers for CAP_NET_ADMIN alone")


def _is_reachable(listener: TCPSocket) -> bool:
    try:
        socket.create_connection(listener.getsockname(), timeout=0.2).close()
    except TimeoutError:
        return False
    return True


@_obedient
def test_newcomers_are_dropped(listener: TCPSocket) -> None:
    """Who has a connection keeps it and can be accepted; who asks for a new one gets no answer, not even a refusal."""
    with socket.create_connection(listener.getsockname()) as before:
        drop_newcomers(listener)
        assert not _is_reachable(listener)
        assert listener.get_backlog() == 1
        accepted, _ = listener.accept()
        with accepted:
            before.sendall(b"x")
            assert accepted.recv(1) == b"x"


@pytest.mark.parametrize(
    ("others", "reachable"),
    [
        pytest.param({}, False, marks=_obedient),
        ({"systemd": True}, True),
        ({"reexec_pid": 1}, True),
        ({"master_pid": 1}, True),
    ],
)
def test_newcomers_of_others_are_not_dropped(
    listener: TCPSocket, monkeypatch: pytest.MonkeyPatch, others: dict[str, Any], reachable: bool
) -> None:
    """A socket on which systemd, or a master before or after this one, listens too is left as it is."""
    monkeypatch.setattr(Arbiter, "stop", lambda _self, _graceful: None)
    master = object.__new__(Master)
    vars(master).update({"LISTENERS": [listener], "systemd": False, "reexec_pid": 0, "master_pid": 0} | others)
    master.stop()
    assert _is_reachable(listener) == reachable


@pytest.mark.parametrize("stop_timeout_s", [3, 20, 300])
def test_stop_has_the_time_it_needs(stop_timeout_s: int) -> None:
    """Neither the end of a stop nor a worker's silence during it has gunicorn kill it before its time."""
    settings = Settings(antifraud_address="x", secret_key="x" * 40, server_stop_timeout_s=stop_timeout_s)
    options = gunicorn_options(settings)
    longest_s = stop_timeout_s + 2.5  # the seconds before: to accept what is there, and to notice
    last_sign_of_life_s = options["timeout"] / 2 + 1.1  # uvicorn looks once in a second
    assert options["graceful_timeout"] > longest_s
    assert options["timeout"] - last_sign_of_life_s > longest_s
