"""Time limits for clients that are slow to send a request or to read a response.

uvicorn waits without limit for the rest of a request, and for a client to read its response; a single empty line also
stops its keep-alive timer. A timer for each of these would be set and cancelled with every request. Instead a worker
checks all its connections once a second, and a request only stores since when the client owes the rest of it.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from http import HTTPStatus
from operator import attrgetter
from time import perf_counter
from typing import Any

from promo_api.server.strict_http import StrictReader

_log = logging.getLogger(__name__)

FIRST_BYTE_S = 10
# A client that reads less of a response in the time allowed for a request does not want it.
_READ_MIN_BYTES = 64 * 1024
# Looks without progress, at ten looks a second, after which a client counts as one that reads nothing.
_STALLED_LOOKS = 10
_HARD_LIMIT_FACTOR = 4

CountClosed = Callable[[str], None]


class PatientReader(StrictReader):
    """A connection that is closed if its client is too slow.

    Args:
        count_closed: called with the reason when the server closes a connection that no request asked to close.
    """

    # Since when the client has owed the rest of a request that it has begun to send; None: it owes nothing.
    _owed_since_s: float | None = None
    # Unread bytes of responses, and since when the client has read too little of them.
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
        """Record since when the client owes the rest of a request."""
        super().on_message_begin()
        self._owed_since_s = self._began_s

    def on_message_complete(self) -> None:
        """Record that the client owes nothing."""
        super().on_message_complete()
        self._owed_since_s = None

    def feed(self, piece: bytes) -> None:
        """Parse a piece. The parser does not report empty lines before a request, which could be many."""
        super().feed(piece)
        if self._owed_since_s is None and (self.cycle is None or self.cycle.response_complete):
            self._owed_since_s = perf_counter()

    def cut_if_slow(self, now_s: float, timeout_s: float) -> None:
        """Close the connection if the client has taken too long over a request or a response.

        Args:
            now_s: by time.perf_counter.
            timeout_s: time for a request to arrive, and for 64 KiB of a response to be read.
        """
        if self._owed_since_s is not None:
            if not self.transport.is_reading():  # the server is not reading, so the client is not late
                self._owed_since_s = now_s
            elif now_s - self._owed_since_s > timeout_s and not self.transport.is_closing():
                self._cut_request()
        unread_bytes = self.unread_bytes
        read_bytes = self._unread_bytes - unread_bytes
        if not unread_bytes or not 0 <= read_bytes < _READ_MIN_BYTES:
            self._unread_bytes, self._unread_since_s = unread_bytes, now_s
        elif now_s - self._unread_since_s > timeout_s:
            self.close_for("slow_response")

    def close_for(self, reason: str) -> None:
        """Close the connection at once, without sending the rest of a response, and count the reason."""
        self._count_closed(reason)
        self._is_aborted = True
        self.transport.abort()

    @property
    def unread_bytes(self) -> int:
        """How much of its responses the client has not read; 0 once the connection has been aborted."""
        return 0 if self._is_aborted else self.transport.get_write_buffer_size()

    @property
    def waits_since_s(self) -> float | None:
        """Since when the server has waited for the client to send; None: it is not waiting, or a response is unread."""
        if self.transport.is_closing() or self.unread_bytes or not self.transport.is_reading():
            return None
        if self._owed_since_s is not None:
            return self._owed_since_s
        timer = self.timeout_keep_alive_task  # which is set only between requests
        if timer is None:
            return None
        timeout_s = min(FIRST_BYTE_S, self.timeout_keep_alive) if self.cycle is None else self.timeout_keep_alive
        return timer.when() - timeout_s

    def _cut_request(self) -> None:
        """Refuse the request if a response can still be sent; otherwise close once the running one is complete."""
        cycle = self.cycle
        is_answering = cycle is not None and not cycle.response_complete
        is_unanswered_body = is_answering and not self._in_head and not cycle.response_started
        if is_unanswered_body or (self._in_head and not is_answering):
            self._count_closed("slow_request")
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "The rest of this request did not come in time.")
        elif not is_answering:
            self._count_closed("slow_request")
            self.transport.close()


class UnreadGuard:
    """Limits the unread responses of all connections: many can be sent before any client counts as slow.

    Above the limit it closes the connections whose clients read nothing. Above four times the limit it closes any
    connection. Those with the most unread bytes are closed first, until the total is within the limit again.

    Args:
        max_bytes: the limit.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        # Unread bytes at the last look, and looks since they last became fewer, while the total is above the limit.
        self._seen: dict[PatientReader, tuple[int, int]] = {}

    def look(self, connections: Collection[PatientReader]) -> None:
        """Close connections if too much is unread; call this ten times a second."""
        total_bytes = sum(connection.unread_bytes for connection in connections)
        if total_bytes <= self._max_bytes:
            self._seen.clear()
            return
        self._seen = {connection: self._progress(connection) for connection in connections if connection.unread_bytes}
        stalled = [connection for connection, (_, looks) in self._seen.items() if looks >= _STALLED_LOOKS]
        total_bytes = self._close(stalled, total_bytes, self._max_bytes)
        self._close(list(self._seen), total_bytes, self._max_bytes * _HARD_LIMIT_FACTOR)

    def _progress(self, connection: PatientReader) -> tuple[int, int]:
        unread_bytes = connection.unread_bytes
        before_bytes, looks = self._seen.get(connection, (unread_bytes + 1, 0))
        return unread_bytes, 0 if unread_bytes < before_bytes else looks + 1

    def _close(self, connections: list[PatientReader], total_bytes: int, max_bytes: int) -> int:
        """Close connections until the total is within a limit, and return the total."""
        for connection in sorted(connections, key=attrgetter("unread_bytes"), reverse=True):
            if total_bytes <= max_bytes:
                break
            unread_bytes = connection.unread_bytes
            total_bytes -= unread_bytes
            _log.warning("unread_response_dropped", extra={"unread_bytes": unread_bytes})
            connection.close_for("unread")
            self._seen.pop(connection, None)
        return total_bytes
