"""A request in a thread pool, and its response."""

import asyncio
import contextvars
from threading import Lock
from time import monotonic

from starlette.types import Receive, Scope, Send

from promo_api.contract.fair_queue import Source
from promo_api.contract.sender import CONNECTION
from promo_api.contract.streams import StreamedResponse, StreamSender

# Status, headers and body.
_Headers = list[tuple[bytes, bytes]]
Response = tuple[int, _Headers, bytes]
RunResult = Response | tuple[int, _Headers, StreamedResponse]

_SMALL_RESPONSE_BYTES = 64 * 1024


class PooledRequest:
    """A request in a pool.

    Attributes:
        outcome: None if the client disconnected before the start, or a streamed response was sent.
        began_s: by time.monotonic; None if not started.
        holds_share: it holds its group's share until the response was sent.
    """

    __slots__ = ("_claimed", "_send", "began_s", "context", "expires_s", "holds_share", "outcome", "scope", "source")

    def __init__(self, scope: Scope, send: Send, source: Source, wait_s: float) -> None:
        self.scope = scope
        self._send = send
        self.source = source
        self.context = contextvars.copy_context()
        self.outcome: asyncio.Future[Response | Exception | None] = asyncio.get_running_loop().create_future()
        self.expires_s = monotonic() + wait_s
        self.began_s: float | None = None
        self.holds_share = False
        self._claimed = Lock()

    def claim(self) -> bool:
        """Return True once: to the thread that starts it or to the tick that refuses it."""
        return self._claimed.acquire(blocking=False)

    def settle(self, outcome: Response | Exception | None) -> None:
        """Set the outcome, unless its coroutine was cancelled."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def send_stream(self, status: int, headers: _Headers, body: StreamedResponse) -> Response | None:
        """Send a streamed response from this thread. The response to HEAD is returned, and has no body."""
        if self.scope["method"] == "HEAD":
            body.close()
            return status, headers, b""
        StreamSender(self.scope, self._send, self.outcome.get_loop()).run(status, headers, body)
        return None

    @property
    def is_abandoned(self) -> bool:
        """Whether the client has disconnected."""
        connection = self.scope["extensions"].get(CONNECTION)
        return self.outcome.cancelled() or (connection is not None and connection.is_closing())


def is_large(response: Response) -> bool:
    """Return whether a slow client may leave it unread."""
    return len(response[2]) > _SMALL_RESPONSE_BYTES


async def send_response(response: Response, send: Send) -> None:
    """Send a response; wait for the client to read a large one."""
    status, headers, body = response
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if is_large(response):
        await send({"type": "http.response.body", "body": body, "more_body": True})
        # The server accepts the next message only after that.
        body = b""
    await send({"type": "http.response.body", "body": body})


async def abort(scope: Scope, receive: Receive) -> None:
    """Close the connection, so that the client does not take the part that it got for the whole response."""
    scope["extensions"][CONNECTION].abort()
    await wait_for_disconnect(receive)


async def wait_for_disconnect(receive: Receive) -> None:
    """Wait for the disconnect, or the end of the response."""
    while (await receive())["type"] != "http.disconnect":
        pass
