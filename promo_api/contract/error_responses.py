"""The common error body: `{"status": "error", "message": ..., "details": [...]}`."""

import logging
from collections.abc import Mapping
from typing import Any

import orjson
from connexion import FlaskApp
from connexion.lifecycle import ConnexionRequest, ConnexionResponse
from starlette.exceptions import HTTPException

from promo_api.errors import (
    ActivationDenied,
    EmailTaken,
    IdempotencyKeyReused,
    InvalidInput,
    NotFound,
    NotOwner,
    Overloaded,
    RequestError,
    ServiceUnavailable,
    TooManyRequests,
    Unauthenticated,
    Violation,
    WrongPassword,
)

_log = logging.getLogger(__name__)

# The body of a 500.
INTERNAL_ERROR = orjson.dumps({"status": "error", "message": "Internal server error. The error was logged."})

_STATUSES: dict[type[RequestError], int] = {
    InvalidInput: 400,
    Unauthenticated: 401,
    NotOwner: 403,
    WrongPassword: 403,
    ActivationDenied: 403,
    NotFound: 404,
    EmailTaken: 409,
    IdempotencyKeyReused: 422,
    TooManyRequests: 429,
    ServiceUnavailable: 503,
    Overloaded: 503,
}


def add_error_handlers(app: FlaskApp) -> None:
    """Give every exception a response with the common error body."""
    app.add_error_handler(RequestError, request_error)
    app.add_error_handler(HTTPException, http_error)
    app.add_error_handler(Exception, internal_error)


async def request_error(_request: ConnexionRequest, error: RequestError) -> ConnexionResponse:
    """Return the response to a refused request."""
    if isinstance(error, ServiceUnavailable):
        _log.warning("service_unavailable", extra={"reason": error.reason, "retry_after_s": error.retry_after_s})
    violations = error.violations if isinstance(error, InvalidInput) else ()
    return _response(_STATUSES[type(error)], error.message, _headers(error), violations)


async def http_error(_request: ConnexionRequest, error: HTTPException) -> ConnexionResponse:
    """Return the response to an HTTP error."""
    return _response(error.status_code, error.detail, error.headers)


async def internal_error(_request: ConnexionRequest, error: Exception) -> ConnexionResponse:
    """Log an unexpected exception; its details are not for the client."""
    _log.error("internal_error", exc_info=error)
    return ConnexionResponse(500, mimetype="application/json", body=INTERNAL_ERROR)


def _headers(error: RequestError) -> dict[str, str]:
    if isinstance(error, Unauthenticated):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, TooManyRequests):
        # Structured fields of draft-ietf-httpapi-ratelimit-headers-10.
        return {
            "RateLimit-Policy": f'"{error.limit}";q={error.times};w={error.period_s}',
            "RateLimit": f'"{error.limit}";r=0;t={error.retry_after_s}',
            "Retry-After": str(error.retry_after_s),
        }
    if isinstance(error, Overloaded | ServiceUnavailable):
        return {"Retry-After": str(error.retry_after_s)}
    return {}


def _response(
    status: int, message: str, headers: Mapping[str, str] | None = None, violations: tuple[Violation, ...] = ()
) -> ConnexionResponse:
    body: dict[str, Any] = {"status": "error", "message": message}
    if violations:
        body["details"] = [
            {"in": violation.location, "pointer": violation.pointer, "message": violation.message}
            for violation in violations
        ]
    return ConnexionResponse(status, mimetype="application/json", body=orjson.dumps(body), headers=dict(headers or {}))
