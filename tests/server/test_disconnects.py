"""Clients that disconnect: their queued requests do not start, and the memory of the connection is freed."""

import asyncio
import gc
import socket
import weakref
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from promo_api.contract.sender import CONNECTION
from promo_api.dev.processes import wait_until
from promo_api.server.graceful_stop import HttpProtocol
from tests.server.connection import BROKEN, GET, HEAD, Application, Connection, run, run_alone


def test_client_that_disconnects() -> None:
    """After a disconnect no queued request starts, and the scope of the running request shows the disconnect."""

    async def main(connection: Connection) -> None:
        connection.application.may_respond.clear()
        connection.send(GET * 100)
        assert await asyncio.to_thread(wait_until, lambda: connection.application.started == 1, 10)
        client = connection.application.scope["extensions"][CONNECTION]
        assert not client.is_closing()
        connection.client.close()
        connection.application.may_respond.set()
        assert await asyncio.to_thread(wait_until, client.is_closing, 10)
        await asyncio.gather(*connection.protocol.tasks)
        assert connection.application.started <= 2

    run(main)


async def _used_connection(sent: bytes, *, reset: bool) -> tuple["weakref.ref[HttpProtocol]", set[Any]]:
    """Use a connection, end it, and return its protocol and the tasks of its requests."""
    client, server = socket.socketpair()
    application = Application()
    application.may_respond.clear()
    config = Config(application, log_config=None)
    transport, protocol = await asyncio.get_running_loop().connect_accepted_socket(
        lambda: HttpProtocol(config, ServerState(), {}), server
    )
    protocol.data_received(sent)
    await asyncio.to_thread(int)  # a request starts
    if reset:
        transport.abort()
    client.close()
    application.may_respond.set()
    return weakref.ref(protocol), protocol.tasks


@pytest.mark.parametrize("sent", [b"", GET, GET + GET[:-2], HEAD, GET * 100, BROKEN])
@pytest.mark.parametrize("reset", [False, True])
def test_closed_connection_is_freed(sent: bytes, reset: bool) -> None:
    """When a connection has ended its protocol is freed without the garbage collector."""

    async def main() -> None:
        protocol, tasks = await _used_connection(sent, reset=reset)
        await asyncio.gather(*tasks)
        assert await asyncio.to_thread(wait_until, lambda: protocol() is None, 10)

    gc.collect()
    gc.disable()
    try:
        run_alone(main)
    finally:
        gc.enable()
