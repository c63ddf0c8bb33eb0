"""The log line of each request."""

import logging
from asyncio import get_running_loop
from contextvars import Context

from promo_api.logs import lines_together
from promo_api.telemetry.requests import RequestFinished

_log = logging.getLogger(__name__)

_INTERVAL_S = 0.01


class RequestLog:
    """Writes the lines of the requests of 10 ms at once, because a write costs more than a line.

    A process that is killed loses the lines of its last 10 ms. Other events are written immediately.
    """

    def __init__(self) -> None:
        self._requests: list[RequestFinished] = []
        self._is_closed = False

    def add(self, request: RequestFinished) -> None:
        """Log a request within 10 ms. For use on the event loop only."""
        self._requests.append(request)
        if self._is_closed:
            self._write()
        elif len(self._requests) == 1:
            # An empty context, because the id of this request is not that of the others.
            get_running_loop().call_later(_INTERVAL_S, self._write, context=Context())

    def end(self) -> None:
        """Write all lines now, and each further line immediately, because the event loop is about to end."""
        self._is_closed = True
        self._write()

    def _write(self) -> None:
        requests, self._requests = self._requests, []
        with lines_together():
            for request in requests:
                _log_request(request)


def _log_request(request: RequestFinished) -> None:
    """Log the operation of a request and not its path, which may contain anything that the client has sent."""
    _log.info(
        "request",
        extra={
            "request_id": request.request_id,
            "operation": request.operation_id,
            "method": request.method,
            "status": request.status,
            "duration_ms": round(request.duration_s * 1000, 2),
        },
    )
