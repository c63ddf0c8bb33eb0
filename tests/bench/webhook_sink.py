"""A receiver of webhooks that costs little: it records the time of each request, and responds at once or never."""

import asyncio
import re
from time import time
from typing import cast

import uvloop

from tests.loop_server import LoopServer

_RESPONSE = b"HTTP/1.1 204 No Content\r\n\r\n"
_HEAD = re.compile(rb"webhook-id: ([0-9a-f-]{36})\r\n", re.IGNORECASE)
_LENGTH = re.compile(rb"content-length: ([0-9]+)\r\n", re.IGNORECASE)


class Sink(LoopServer):
    """An HTTP server in a thread.

    Attributes:
        received: the Unix time of the first request for each event.
        hangs: whether it never responds.
    """

    def __init__(self, *, hangs: bool = False) -> None:
        super().__init__(uvloop.new_event_loop())
        self.received: dict[str, float] = {}
        self.hangs = hangs

    async def _start(self) -> None:
        self._server = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"

    async def _stop(self) -> None:
        self._server.close()


class _Connection(asyncio.Protocol):
    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        head, found, body = self._unread.partition(b"\r\n\r\n")
        if not found:
            return
        head += b"\r\n"
        length, id_ = _LENGTH.search(head), _HEAD.search(head)
        assert length is not None
        assert id_ is not None
        if len(body) < int(length[1]):
            return
        self._unread = body[int(length[1]) :]
        self._sink.received.setdefault(id_[1].decode(), time())
        if not self._sink.hangs:
            self._transport.write(_RESPONSE)
