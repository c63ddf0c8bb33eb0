"""Connections, and how they end: a stop loses no request.

Asked to stop, Uvicorn closes at once every connection on which no request runs; but a load balancer that has just sent
one over such a connection may not send it again, for all it knows it was done. Here every connection is told with its
next answer, `Connection: close`, and only one over which nothing comes is closed without a word.
"""

import select

from promo_api.contract.patience import PatientReader

# A load balancer uses a busy connection again in less. One that it uses more rarely is closed while it is silent; what
# remains is a request that is on its way just then, as whenever a server closes a connection that was kept.
_GRACE_S = 2


class StrictHttpProtocol(PatientReader):
    """A connection that can be asked to end."""

    _stopping = False

    def on_headers_complete(self) -> None:
        """Let the answer be the last one, if the service stops."""
        super().on_headers_complete()
        if self._stopping:
            self.cycle.keep_alive = False

    def data_received(self, data: bytes) -> None:
        """Read on; if the service stops, no silence may be too long."""
        super().data_received(data)
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
        """Close a connection over which nothing has come: a loop that is late calls this before it reads what has."""
        if not self.transport.is_closing() and not _is_readable(self.transport.get_extra_info("socket").fileno()):
            self.transport.close()

    def _limit_silence(self) -> None:
        """Give the client the grace, counted anew from each part of a request, if it is its turn to send."""
        answering = self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body
        if answering or self.pipeline or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(_GRACE_S, self.timeout_keep_alive_handler)


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
