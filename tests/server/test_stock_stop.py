"""What uvicorn and gunicorn do at a stop, and why promo_api/server changes it.

If a test here fails, one of them has changed, and the code that the test names may be unnecessary or wrong.
"""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState
from uvicorn_worker import UvicornWorker

from promo_api.config.settings import Settings
from promo_api.dev.processes import wait_until
from promo_api.server.gunicorn_app import gunicorn_options


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
        client.setblocking(False)  # noqa: FBT003 its only parameter
        config = Config(_app, log_config=None)
        _, protocol = await asyncio.get_running_loop().connect_accepted_socket(
            lambda: HttpToolsProtocol(config, ServerState(), {}), server
        )
        yield client, protocol


def test_stock_closes_connections_at_once() -> None:
    """A stock connection without a request is closed at once, so server/graceful_stop.py overrides `shutdown`."""

    async def main() -> None:
        async with _connection() as (client, protocol):
            protocol.shutdown()
            assert await asyncio.get_running_loop().sock_recv(client, 1) == b""

    _run(main())


def test_stock_reads_keep_alive_when_the_response_starts() -> None:
    """`keep_alive` applies until the response starts, so server/graceful_stop.py can set it at a stop."""

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
    """SIGQUIT only sets a flag that uvicorn never reads, so server/gunicorn_app.py has another handler."""
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
    """Replaces a connection or the lifespan, and records its shutdown."""

    def __init__(self, calls: list[str], name: str) -> None:
        self._calls, self._name = calls, name

    def shutdown(self) -> Any:
        """Record it; the lifespan is awaited."""
        self._calls.append(self._name)
        return asyncio.get_running_loop().run_in_executor(None, int)


@pytest.mark.parametrize("timed_out", [False, True])
def test_stock_order_of_a_stop(timed_out: bool) -> None:
    """A stop shuts down connections, waits for them, then ends the lifespan unless `force_exit` is set."""
    calls: list[str] = []

    class Waiting(Server):
        async def _wait_tasks_to_complete(self) -> None:
            calls.append("wait")
            self.force_exit = timed_out

    async def main() -> None:
        server = Waiting(Config(_app, log_config=None))
        server.servers = []
        server.server_state.connections = {_Recorder(calls, "connection")}
        server.lifespan = _Recorder(calls, "lifespan")
        await server.shutdown([])

    _run(main())
    assert calls == ["connection", "wait", *([] if timed_out else ["lifespan"])]


@pytest.mark.parametrize("drain_s", [0, 10, 300])
@pytest.mark.parametrize("stop_timeout_s", [3, 20, 300])
def test_gunicorn_allows_the_time_of_a_stop(stop_timeout_s: int, drain_s: int) -> None:
    """Gunicorn kills no worker that drains and stops within its time limits."""
    settings = Settings(
        antifraud_address="x", secret_key="x" * 40, server_stop_timeout_s=stop_timeout_s, server_drain_s=drain_s
    )
    options = gunicorn_options(settings)
    longest_s = drain_s + stop_timeout_s + 1.5  # two ticks and the end of the threads
    heartbeat_s = options["timeout"] / 2 + 1.1  # uvicorn checks once a second
    assert options["graceful_timeout"] > longest_s
    assert options["timeout"] - heartbeat_s > longest_s
