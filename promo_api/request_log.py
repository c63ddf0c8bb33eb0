"""The line of each request."""

import logging
from asyncio import get_running_loop
from contextvars import Context

from promo_api.contract.observation import Answered
from promo_api.logs import lines_together

_log = logging.getLogger(__name__)

_TOGETHER_S = 0.01


class RequestLog:
    """Writes the lines of requests, of a hundredth of a second at once: each write costs more than its line.

    A process that is killed has not written those of its last hundredth; all other events are written as they happen.
    """

    def __init__(self) -> None:
        self._waiting: list[Answered] = []
        self._ends = False

    def add(self, answered: Answered) -> None:
        """Write the line of a request, soon; to be called on the event loop."""
        self._waiting.append(answered)
        if self._ends:
            self._write()
        elif len(self._waiting) == 1:
            # Not in the context of this request, whose id is not that of the others.
            get_running_loop().call_later(_TOGETHER_S, self._write, context=Context())

    def end(self) -> None:
        """Write what waits, and from now on each line at once: the loop is going to end."""
        self._ends = True
        self._write()

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        with lines_together():
            for answered in waiting:
                _log_request(answered)


def _log_request(answered: Answered) -> None:
    """Tell of a request by its operation, never by its path, and nothing of what was sent."""
    _log.info(
        "request",
        extra={
            "request_id": answered.request_id,
            "operation": answered.operation_id,
            "method": answered.method,
            "status": answered.status,
            "duration_ms": round(answered.duration_s * 1000, 2),
        },
    )
