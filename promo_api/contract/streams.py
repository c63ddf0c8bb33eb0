"""Bodies that are too large for memory, of requests and of responses.

The thread of the handler reads or writes them in pieces, and waits for the client meanwhile. So it must hold neither a
database connection nor a lock while it asks for the next chunk of a request, or yields a chunk of a response.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from promo_api.contract.sender import CONNECTION

_log = logging.getLogger(__name__)

# A scope extension: the server limits the progress of the body, and not its duration.
STREAMED_BODY = "promo_api.streamed_body"
# Each piece costs a switch to the event loop and back, about 0.1 ms.
_PIECE_BYTES = 64 * 1024


class ClientDisconnected(Exception):
    """The client disconnected before the end of its request body. A handler lets it pass."""


class StreamAborted(Exception):
    """The chunks of a response raised an exception after its beginning was sent."""


class StreamedBody:
    """The body of a request, in chunks of up to some 100 kB; it can be read once.

    `media_type` is the one of api.yml that the client sent.
    """

    def __init__(self, media_type: str, receive: Receive, max_bytes: int) -> None:
        self.media_type = media_type
        self._receive = receive
        self._max_bytes = max_bytes
        self._loop = asyncio.get_running_loop()
        self._read_bytes = 0
        self._has_more = True

    def __iter__(self) -> Iterator[bytes]:
        """Yield the chunks; wait for each of them. Call this in the thread of the handler.

        Raises:
            ClientDisconnected: the rest will not arrive. A client that is too slow is disconnected, too.
            HTTPException: 413.
        """
        while self._has_more:
            message = asyncio.run_coroutine_threadsafe(self._next(), self._loop).result()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            chunk: bytes = message.get("body", b"")
            self._read_bytes += len(chunk)
            if self._read_bytes > self._max_bytes:
                raise too_large(self._max_bytes)
            self._has_more = message.get("more_body", False)
            if chunk:
                yield chunk

    async def _next(self) -> Message:
        return await self._receive()


def too_large(max_bytes: int) -> HTTPException:
    """Return the error for a body above its limit."""
    return HTTPException(413, f"The request body must not be larger than {max_bytes} bytes.")


@dataclass(frozen=True)
class StreamedResponse:
    """The body of a response, which a handler returns.

    `chunks` runs after the handler, in its thread. It may be a generator: it is closed at the end, also when the client
    disconnects. An exception before the first 64 KiB is a normal error; a later one cuts the response off.
    """

    media_type: str
    chunks: Iterable[bytes]

    def __iter__(self) -> Iterator[bytes]:
        """Yield the chunks."""
        return iter(self.chunks)

    def close(self) -> None:
        """Close the generator."""
        close = getattr(self.chunks, "close", None)
        if close is not None:
            close()


class StreamSender:
    """Sends a streamed response from the thread of its handler."""

    def __init__(self, scope: Scope, send: Send, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = scope["extensions"].get(CONNECTION)
        self._send = send
        self._loop = loop
        self._has_begun = False

    def run(self, status: int, headers: list[tuple[bytes, bytes]], body: StreamedResponse) -> None:
        """Send the response, as far as the client reads it.

        Raises:
            StreamAborted: an exception, which was logged, ended the response.
            Exception: an exception of the chunks, before anything was sent.
        """
        try:
            try:
                self._run({"type": "http.response.start", "status": status, "headers": headers}, body)
            finally:
                body.close()
        except Exception as error:
            if not self._has_begun:
                raise
            _log.error("response_aborted", exc_info=error)
            raise StreamAborted from error

    def _run(self, head: Message, body: StreamedResponse) -> None:
        # The head waits for the first piece, so that an early error can have its own status.
        for piece in _pieces(body):
            if not self._has_begun:
                self._call(head)
                self._has_begun = True
            self._call({"type": "http.response.body", "body": piece, "more_body": True})
            if self._connection is not None and self._connection.is_closing():
                return
        if not self._has_begun:
            self._call(head)
        self._call({"type": "http.response.body", "body": b""})

    def _call(self, message: Message) -> None:
        """Send a message; wait while the client reads too slowly."""
        asyncio.run_coroutine_threadsafe(self._forward(message), self._loop).result()

    async def _forward(self, message: Message) -> None:
        await self._send(message)


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Combine small chunks, and divide large ones."""
    rest = bytearray()
    for chunk in chunks:
        rest += chunk
        if len(rest) >= _PIECE_BYTES:
            whole = len(rest) - len(rest) % _PIECE_BYTES
            for start in range(0, whole, _PIECE_BYTES):
                yield bytes(rest[start : start + _PIECE_BYTES])
            del rest[:whole]
    if rest:
        yield bytes(rest)
