"""Time limits for clients that are slow to send or to read.

A timer for every request would be slow, so a worker checks all connections once a second.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from http import HTTPStatus
from operator import attrgetter
from time import perf_counter
from typing import Any

from promo_api.contract.streams import STREAMED_BODY
from promo_api.server.early_responses import EarlyResponseProtocol

_log = logging.getLogger(__name__)

FIRST_BYTE_S = 10
# In the time allowed for a request.
_MIN_READ_BYTES = _MIN_SENT_BYTES = 64 * 1024
# One second without progress.
_STALLED_CHECKS = 10
_HARD_LIMIT_FACTOR = 4

CountClosed = Callable[[str], None]


class TimeLimitProtocol(EarlyResponseProtocol):
    """A connection that closes if its client is slow."""

    # None: no request has begun.
    _incomplete_since_s: float | None = None
    # Of all bodies, and of them at the latest progress.
    _received_bytes = _progress_bytes = 0
    # What the client has not read, and since when it reads too little.
    _unread_bytes = 0
    _unread_since_s = 0.0
    _is_aborted = False

    def __init__(self, *arguments: Any, count_closed: CountClosed = lambda _reason: None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._count_closed = count_closed

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Limit the time until the first byte."""
        super().connection_made(transport)
        timeout_s = min(FIRST_BYTE_S, self.timeout_keep_alive)
        self.timeout_keep_alive_task = self.loop.call_later(timeout_s, self.timeout_keep_alive_handler)

    def on_message_begin(self) -> None:
        """Record when a request began."""
        super().on_message_begin()
        self._incomplete_since_s = self._began_s

    def on_body(self, body: bytes) -> None:
        """Count the bytes."""
        self._received_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Record its end."""
        super().on_message_complete()
        self._incomplete_since_s = None

    def feed(self, piece: bytes) -> None:
        """Count empty lines, which the parser does not report, as the start of a request."""
        super().feed(piece)
        if self._incomplete_since_s is None and (self.cycle is None or self.cycle.response_complete):
            self._incomplete_since_s = perf_counter()

    def resume_writing(self) -> None:
        """Count it as progress: the client has read nearly everything. A stream refills the buffer at once."""
        super().resume_writing()
        self._unread_bytes = 0

    def cut_if_slow(self, now_s: float, timeout_s: float) -> None:
        """Close if a request, 64 KiB of a streamed body, or reading 64 KiB, takes longer than `timeout_s`."""
        if self._incomplete_since_s is not None and not self._is_half_open:
            if self._client_waits() or self._has_progress():
                self._incomplete_since_s, self._progress_bytes = now_s, self._received_bytes
            elif now_s - self._incomplete_since_s > timeout_s and not self.transport.is_closing():
                self._cut_request()
        unread_bytes = self.unread_bytes
        read_bytes = self._unread_bytes - unread_bytes
        if not unread_bytes or not 0 <= read_bytes < _MIN_READ_BYTES:
            self._unread_bytes, self._unread_since_s = unread_bytes, now_s
        elif now_s - self._unread_since_s > timeout_s:
            self.close_for("slow_response")

    def close_for(self, reason: str) -> None:
        """Close at once, and count the reason."""
        self._count_closed(reason)
        self._is_aborted = True
        self.transport.abort()

    @property
    def unread_bytes(self) -> int:
        """Unread bytes of responses; 0 once aborted."""
        return 0 if self._is_aborted else self.transport.get_write_buffer_size()

    @property
    def idle_since_s(self) -> float | None:
        """Since when the server waits for the client to send; None: it does not."""
        if self.transport.is_closing() or self.unread_bytes or not self.transport.is_reading():
            return None
        if self._incomplete_since_s is not None:
            return self._incomplete_since_s
        timer = self.timeout_keep_alive_task  # set only between requests
        if timer is None:
            return None
        timeout_s = min(FIRST_BYTE_S, self.timeout_keep_alive) if self.cycle is None else self.timeout_keep_alive
        return timer.when() - timeout_s

    @property
    def is_uploading(self) -> bool:
        """Whether the last request has a streamed body, and no complete response."""
        cycle = self.cycle
        return cycle is not None and not cycle.response_complete and STREAMED_BODY in cycle.scope["extensions"]

    def _client_waits(self) -> bool:
        """Return whether the server pauses the client, or has not asked for the body yet."""
        return not self.transport.is_reading() or (self._in_body and self.cycle.waiting_for_100_continue)

    def _has_progress(self) -> bool:
        """Return whether a part of a streamed body has arrived; the duration of other bodies is limited."""
        has_part = self._received_bytes - self._progress_bytes >= _MIN_SENT_BYTES
        return has_part and self._in_body and STREAMED_BODY in self.cycle.scope["extensions"]

    def _cut_request(self) -> None:
        """Reject the request, unless an earlier one is running."""
        cycle = self.cycle
        is_responding = cycle is not None and not cycle.response_complete
        is_body_without_response = is_responding and not self._in_head and not cycle.response_started
        if is_body_without_response or (self._in_head and not is_responding):
            self._count_closed("slow_request")
            message = "The rest of this request did not arrive in time."
            self.reject(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", message)
        elif not is_responding:
            self._count_closed("slow_request")
            self.transport.close()


class UnreadLimit:
    """Limits the memory of unread responses: closes stalled clients; above four times the limit, any."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        # Unread bytes, and checks without progress.
        self._seen: dict[TimeLimitProtocol, tuple[int, int]] = {}

    def enforce(self, connections: Collection[TimeLimitProtocol]) -> None:
        """Close connections above the limit. Call this ten times a second."""
        total_bytes = sum(connection.unread_bytes for connection in connections)
        if total_bytes <= self._max_bytes:
            self._seen.clear()
            return
        self._seen = {connection: self._progress(connection) for connection in connections if connection.unread_bytes}
        stalled = [connection for connection, (_, checks) in self._seen.items() if checks >= _STALLED_CHECKS]
        total_bytes = self._close(stalled, total_bytes, self._max_bytes)
        self._close(list(self._seen), total_bytes, self._max_bytes * _HARD_LIMIT_FACTOR)

    def _progress(self, connection: TimeLimitProtocol) -> tuple[int, int]:
        unread_bytes = connection.unread_bytes
        before_bytes, checks = self._seen.get(connection, (unread_bytes + 1, 0))
        return unread_bytes, 0 if unread_bytes < before_bytes else checks + 1

    def _close(self, connections: list[TimeLimitProtocol], total_bytes: int, max_bytes: int) -> int:
        """Return the new total."""
        for connection in sorted(connections, key=attrgetter("unread_bytes"), reverse=True):
            if total_bytes <= max_bytes:
                break
            unread_bytes = connection.unread_bytes
            total_bytes -= unread_bytes
            _log.warning("unread_response_dropped", extra={"unread_bytes": unread_bytes})
            connection.close_for("unread")
            self._seen.pop(connection, None)
        return total_bytes
