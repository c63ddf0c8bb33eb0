"""Clients that are slow, by intention or not: a connection over which nothing gets on is cut, and so are hoarders.

Uvicorn waits without end for the rest of a request, and for a client to take its answer; and one empty line is enough
for it to forget that a connection is silent. A timer for each of these would be set and unset with every request. Here
a worker looks at all its connections once a second, and a request only leaves behind since when more of it is owed.
"""

import asyncio
from collections.abc import Collection
from http import HTTPStatus
from operator import attrgetter
from time import perf_counter

from promo_api.contract.framing import StrictReader

# Who takes less of an answer in the time that there is for a request does not want it.
_TAKEN_MIN_BYTES = 64 * 1024


class PatientReader(StrictReader):
    """A reader whose patience ends."""

    # Since when the client has owed the rest of what it has begun to send; None: it owes nothing.
    _owed_since_s: float | None = None
    # What it has not taken of answers, and since when it has taken too little of that.
    _untaken_bytes = 0
    _untaken_since_s = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the client as long for its first byte as it has between two requests."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def on_message_begin(self) -> None:
        """Have the client owe the rest of a request."""
        super().on_message_begin()
        self._owed_since_s = self._began_s

    def on_message_complete(self) -> None:
        """Have it owe nothing."""
        super().on_message_complete()
        self._owed_since_s = None

    def data_received(self, data: bytes) -> None:
        """Read on; the parser does not tell of empty lines before a request, of which there could be many."""
        super().data_received(data)
        if self._owed_since_s is None and (self.cycle is None or self.cycle.response_complete):
            self._owed_since_s = perf_counter()

    def cut_if_slow(self, now_s: float, timeout_s: float) -> None:
        """End the connection if the client has taken too long over a request, or over an answer.

        Args:
            now_s: by time.perf_counter.
            timeout_s: how long a request may take to come, and so many bytes of an answer to go.
        """
        if self._owed_since_s is not None:
            if self.flow.read_paused:  # it is we who do not read
                self._owed_since_s = now_s
            elif now_s - self._owed_since_s > timeout_s and not self.transport.is_closing():
                self._cut_request()
        untaken_bytes = self.untaken_bytes
        taken_bytes = self._untaken_bytes - untaken_bytes
        if not untaken_bytes or not 0 <= taken_bytes < _TAKEN_MIN_BYTES:
            self._untaken_bytes, self._untaken_since_s = untaken_bytes, now_s
        elif now_s - self._untaken_since_s > timeout_s:
            self.transport.abort()

    @property
    def untaken_bytes(self) -> int:
        """How much of answers the client has not taken yet."""
        return self.transport.get_write_buffer_size()

    def _cut_request(self) -> None:
        """End it with a word, unless nothing was asked; as long as an answer is under way that has to go first."""
        cycle = self.cycle
        is_answering = cycle is not None and not cycle.response_complete
        is_unanswered_body = is_answering and not self._in_head and not cycle.response_started
        if is_unanswered_body or (self._in_head and not is_answering):
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "The rest of this request did not come in time.")
        elif not is_answering:
            self.transport.close()


def cut_hoarders(readers: Collection[PatientReader], most_bytes: int) -> None:
    """End the connections that let most wait to be taken, until no more than `most_bytes` waits for all of them.

    So many connections can be made at once that their answers take all memory before anybody has been slow for long.
    """
    over_bytes = sum(reader.untaken_bytes for reader in readers) - most_bytes
    if over_bytes <= 0:
        return
    for reader in sorted(readers, key=attrgetter("untaken_bytes"), reverse=True):
        over_bytes -= reader.untaken_bytes
        reader.transport.abort()
        if over_bytes <= 0:
            return
