"""The line of each request."""

import logging

from promo_api.contract.observation import Answered

_log = logging.getLogger(__name__)


def log_request(answered: Answered) -> None:
    """Write the line of a request: by its operation, never by its path, and nothing of what was sent."""
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
