"""The log line of each request."""

import logging
import re
from asyncio import get_running_loop
from contextvars import Context

from promo_api.telemetry.logs import buffered_lines
from promo_api.telemetry.requests import RequestFinished

_log = logging.getLogger(__name__)

_BATCH_S = 0.01
_SECRET = re.compile(rb"eyJ[\w-]+\.[\w-]+\.[\w-]+|pk_[0-9A-Za-z]{33}")
_UNPRINTABLE = re.compile(rb"[^!-~]")
_TARGET_MAX_BYTES = 200


class RequestLog:
    """Writes in batches, because a write costs more than a line. A killed process loses the last 10 ms."""

    def __init__(self, *, with_paths: bool = False) -> None:
        self._log_request = _log_request_with_path if with_paths else _log_request
        self._pending: list[RequestFinished] = []
        self._is_ending = False

    def add(self, request: RequestFinished) -> None:
        """Schedule the line of a request, on the event loop."""
        self._pending.append(request)
        if self._is_ending:
            self._write()
        elif len(self._pending) == 1:
            # A new context, without the id of this request.
            get_running_loop().call_later(_BATCH_S, self._write, context=Context())

    def end(self) -> None:
        """Write all lines before the event loop ends."""
        self._is_ending = True
        self._write()

    def _write(self) -> None:
        pending, self._pending = self._pending, []
        with buffered_lines():
            for request in pending:
                self._log_request(request)


def _log_request(request: RequestFinished) -> None:
    """Log the operation, never the path or other request data."""
    _log.info(
        "request",
        extra={
            "request_id": request.request_id,
            "operation": request.operation_id,
            "method": request.method,
            "credentials": request.credentials,
            "status": request.status,
            "duration_ms": round(request.duration_s * 1000, 2),
        },
    )


def _log_request_with_path(request: RequestFinished) -> None:
    """Log the path and the query, but no token and no API key, for LOG_FORMAT=dev."""
    target = _UNPRINTABLE.sub(b"?", _SECRET.sub(b"SECRET", request.target)[:_TARGET_MAX_BYTES])
    _log.info(
        "dev_request",
        extra={
            "method": request.method,
            "path": target.decode(),
            "status": request.status,
            "duration_ms": round(request.duration_s * 1000, 1),
        },
    )
