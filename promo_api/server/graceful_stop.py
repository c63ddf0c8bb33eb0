"""Connections, and how they end: a stop loses no request.

Asked to stop, Uvicorn closes at once every connection on which no request runs; but a load balancer that has just sent
one over such a connection may not send it again, for all it knows it was done. Here every connection is told with its
next answer, `Connection: close`, and only one over which nothing comes is closed without a word.
"""

import asyncio
import select
from typing import Any

from promo_api.server.connection_limits import AddressLimit
from promo_api.server.slow_clients import PatientReader

# A load balancer uses a busy connection again in less. One that it uses more rarely is closed while it is silent; what
# remains is a request that is on its way just then, as whenever a server closes a connection that was kept.
_GRACE_S = 2


class StrictHttpProtocol(PatientReader):
    """A connection that can be asked to end.

    Args:
        address_limit: limits the connections of one client address; None: there is no limit.
    """

    _stopping = False

    def __init__(self, *arguments: Any, address_limit: AddressLimit | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._address_limit = address_limit

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection for its client address."""
        super().connection_made(transport)
        if self._address_limit is not None:
            self._address_limit.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop counting it."""
        if self._address_limit is not None:
            self._address_limit.remove(self)
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        """Let the answer be the last one, if the service stops."""
        super().on_headers_complete()
        if self._stopping:
            self.cycle.keep_alive = False

    def feed(self, piece: bytes) -> None:
        """Parse a piece; if the service stops, limit the time until the next."""
        super().feed(piece)
        if self._stopping:
            self._limit_silence()

    def shutdown(self) -> None:
        """Let the next answer be the last, if one is asked for within the grace."""
        self._stopping = True
        self.timeout_keep_alive = _GRACE_S  # after an answer that has begun already, and can't say that it is the last
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False
        self._limit_silence()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, unless there is input: a delayed event loop runs timers before it reads."""
        if self.transport.is_closing() or self.has_unparsed_input:
            return
        if not _is_readable(self.transport.get_extra_info("socket").fileno()):
            self._count_closed("no_request" if self.cycle is None else "idle")
            self.transport.close()

    def _limit_silence(self) -> None:
        """Give the client the grace, counted anew from each part of a request, if it is its turn to send."""
        answering = self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body
        if answering or self.pipeline or self.has_unparsed_input or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(_GRACE_S, self.timeout_keep_alive_handler)


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
