"""HTTP pipelining in bounded memory: a connection has at most 32 unanswered requests.

uvicorn parses all input at once: 256 kB become 9,700 requests.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from promo_api.contract.sender import CONNECTION

MAX_PIPELINED = 32
_STARTED_PER_ITERATION = 4
_PIECE_BYTES = 16 * 1024
_HEAD_END = b"\r\n\r\n"
_SMALLEST_REQUEST_BYTES = len(b"GET / HTTP/1.0\r\n\r\n")
# Besides one that runs, and one that is parsed in part.
_SMALL_PIECE_BYTES = (MAX_PIPELINED - 2) * _SMALLEST_REQUEST_BYTES


class RequestScheduler:
    """Starts queued requests round-robin, so that clients that do not pipeline are not delayed."""

    def __init__(self) -> None:
        self._waiting: deque[PipeliningProtocol] = deque()

    def add(self, connection: "PipeliningProtocol") -> None:
        """Add a connection with a queued request."""
        if not self._waiting:
            connection.loop.call_soon(self._start)
        self._waiting.append(connection)

    def _start(self) -> None:
        started = [self._waiting.popleft() for _ in range(min(_STARTED_PER_ITERATION, len(self._waiting)))]
        if self._waiting:
            started[0].loop.call_soon(self._start)
        for connection in started:
            connection.start_queued()


class _InputFlowControl(FlowControl):
    """Lets the protocol decide how reading continues."""

    def __init__(self, transport: asyncio.Transport, on_resume: Callable[[], None]) -> None:
        super().__init__(transport)
        self.on_resume = on_resume

    def resume_reading(self) -> None:
        """Continue, if paused."""
        if self.read_paused:
            self.read_paused = False
            self.on_resume()


class PipeliningProtocol(HttpToolsProtocol):
    """Stores input beyond the limit unparsed, and pauses reading. `scheduler` None: its own."""

    _unparsed = b""
    # After a rejection or CONNECT.
    _ignores_input = False
    # Until the client reads responses.
    _is_blocked = False
    # The next request comes from the queue.
    _is_between = False

    def __init__(self, *arguments: Any, scheduler: RequestScheduler | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._scheduler = scheduler or RequestScheduler()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin without a request."""
        super().connection_made(transport)
        self.flow = _InputFlowControl(transport, self._resume_reading)
        self._unanswered: deque[RequestResponseCycle] = deque()

    def connection_lost(self, exc: Exception | None) -> None:
        """Break reference cycles, so that memory is freed at once."""
        self.cancel_keep_alive_timer()
        self.disconnect_requests()
        super().connection_lost(exc)
        self.flow.on_resume = _ignore  # type: ignore[attr-defined]
        self._unparsed = b""

    def data_received(self, data: bytes) -> None:
        """Parse as far as the pipeline allows; store the rest."""
        if len(data) <= _SMALL_PIECE_BYTES and not self._unparsed and not self._must_wait():
            self.feed(data)  # the usual case
        else:
            self._unparsed += data
            self._parse()

    def feed(self, piece: bytes) -> None:
        """Parse a piece."""
        self.cancel_keep_alive_timer()
        try:
            self.parser.feed_data(piece)
        except HttpParserUpgrade as upgrade:
            self.on_upgrade(piece[upgrade.args[0] :])
        except HttpParserError:
            self.send_400_response("")

    def on_upgrade(self, rest: bytes) -> None:
        """Handle the bytes after the head of a request with Upgrade, where the parser stops."""
        raise NotImplementedError

    def on_message_begin(self) -> None:
        """Add the connection to the scope."""
        super().on_message_begin()
        self.scope["extensions"] = {CONNECTION: self.transport}  # type: ignore[dict-item]

    def on_headers_complete(self) -> None:
        """Count a request as unanswered."""
        super().on_headers_complete()
        self._unanswered.append(self.cycle)

    def on_response_complete(self) -> None:
        """Schedule the next request, or parse stored input."""
        self._is_between = True
        super().on_response_complete()
        self._is_between = False
        self._unanswered.popleft()
        if self._unparsed and not self.pipeline:
            self.loop.call_soon(self._parse)

    def start_queued(self) -> None:
        """Start the next queued request, or parse stored input."""
        if self.pipeline and not self.transport.is_closing():  # it may have been refused
            self._start_asgi_task(*self.pipeline.pop())
        self._parse()

    def resume_writing(self) -> None:
        """Start the blocked request."""
        super().resume_writing()
        if self._is_blocked and not self.transport.is_closing():
            self._is_blocked = False
            self._scheduler.add(self)

    def cancel_keep_alive_timer(self) -> None:
        """Cancel the timer, if it is set."""
        self._unset_keepalive_if_required()

    def disconnect_requests(self) -> None:
        """Disconnect all requests; uvicorn disconnects only the newest."""
        for cycle in self._unanswered:
            cycle.disconnected = True
            cycle.on_response = _ignore
            cycle.message_event.set()

    @property
    def has_unparsed_input(self) -> bool:
        """Whether input is stored."""
        return bool(self._unparsed)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self.flow.write_paused:
            self.pipeline.append((cycle, app))
            self._is_blocked = True
        elif self._is_between:
            self.pipeline.append((cycle, app))
            self._scheduler.add(self)
        else:
            super()._start_asgi_task(cycle, app)

    def _parse(self) -> None:
        data, start = self._unparsed, 0
        while start < len(data) and not self._must_wait():
            end = _piece_end(data, start)
            self.feed(data[start:end])
            start = end
        self._unparsed = b"" if self._ignores_input or self.transport.is_closing() else data[start:]
        if self._unparsed:
            self.transport.pause_reading()
        elif not self.flow.read_paused:
            self.transport.resume_reading()

    def _must_wait(self) -> bool:
        return bool(self.pipeline or self.flow.read_paused or self._ignores_input or self.transport.is_closing())

    def _resume_reading(self) -> None:
        if self._unparsed:
            self.loop.call_soon(self._parse)
        else:
            self.transport.resume_reading()


def _piece_end(data: bytes, start: int) -> int:
    """Return the end of a piece with fewer heads than MAX_PIPELINED."""
    end = start + _PIECE_BYTES
    # A head may have begun in the previous piece.
    if data.count(_HEAD_END, start, end) + 1 < MAX_PIPELINED:
        return end
    return start + _SMALL_PIECE_BYTES


def _ignore(*_arguments: Any) -> None:
    pass
