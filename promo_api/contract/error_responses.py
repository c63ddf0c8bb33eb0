"""The common error body: `{"status": "error", "code": ..., "message": ..., "details": [...]}`."""

import logging
from collections.abc import Mapping
from typing import Any

import orjson
from connexion import FlaskApp
from connexion.lifecycle import ConnexionRequest, ConnexionResponse
from starlette.exceptions import HTTPException

from promo_api.errors import (
    ActivationDenied,
    CommentRefused,
    EmailTaken,
    IdempotencyKeyReused,
    InvalidInput,
    MailNotConfigured,
    NotFound,
    NotOwner,
    Overloaded,
    PreconditionFailed,
    RedemptionRefused,
    RequestError,
    ScopeMissing,
    ServiceUnavailable,
    TooManyJobs,
    TooManyKeys,
    TooManyRequests,
    TooManyWebhooks,
    Unauthenticated,
    Violation,
    WebhookDisabled,
    WrongPassword,
)

_log = logging.getLogger(__name__)


def error_body(code: str, message: str, **more: Any) -> bytes:
    """Return the body of an error."""
    return orjson.dumps({"status": "error", "code": code, "message": message, **more})


# The body of a 500.
INTERNAL_ERROR = error_body("internal_error", "Internal server error. The error was logged.")

_STATUSES: dict[type[RequestError], int] = {
    InvalidInput: 400,
    Unauthenticated: 401,
    ScopeMissing: 403,
    NotOwner: 403,
    WrongPassword: 403,
    ActivationDenied: 403,
    CommentRefused: 403,
    NotFound: 404,
    EmailTaken: 409,
    TooManyJobs: 409,
    TooManyKeys: 409,
    TooManyWebhooks: 409,
    WebhookDisabled: 409,
    RedemptionRefused: 409,
    PreconditionFailed: 412,
    IdempotencyKeyReused: 422,
    TooManyRequests: 429,
    ServiceUnavailable: 503,
    Overloaded: 503,
    MailNotConfigured: 503,
}
_TEMPORARY = ActivationDenied | MailNotConfigured | Overloaded | ServiceUnavailable
_HTTP_CODES = {405: "method_not_allowed", 413: "body_too_large", 415: "unsupported_media_type"}


def add_error_handlers(app: FlaskApp) -> None:
    """Give every exception a response with the common error body."""
    app.add_error_handler(RequestError, request_error)
    app.add_error_handler(HTTPException, http_error)
    app.add_error_handler(Exception, internal_error)


async def request_error(_request: ConnexionRequest, error: RequestError) -> ConnexionResponse:
    """Return the response to a refused request."""
    if isinstance(error, ServiceUnavailable):
        _log.warning("service_unavailable", extra={"reason": error.reason, "retry_after_s": error.retry_after_s})
    return _response(_STATUSES[type(error)], error_body(error.code, error.message, **_members(error)), _headers(error))


async def http_error(_request: ConnexionRequest, error: HTTPException) -> ConnexionResponse:
    """Return the response to an HTTP error."""
    code = _HTTP_CODES.get(error.status_code, InvalidInput.code)
    return _response(error.status_code, error_body(code, error.detail), error.headers)


async def internal_error(_request: ConnexionRequest, error: Exception) -> ConnexionResponse:
    """Log an unexpected exception; its details are not for the client."""
    _log.error("internal_error", exc_info=error)
    return _response(500, INTERNAL_ERROR)


def _members(error: RequestError) -> dict[str, Any]:
    """Return the further members of the body."""
    if isinstance(error, ActivationDenied):
        return {"reasons": error.reasons}
    if isinstance(error, RedemptionRefused) and error.candidates:
        return {"candidates": error.candidates}
    if isinstance(error, InvalidInput) and error.violations:
        return {"details": [_detail(violation) for violation in error.violations]}
    return {}


def _detail(violation: Violation) -> dict[str, str]:
    return {"in": violation.location, "pointer": violation.pointer, "message": violation.message}


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
    if isinstance(error, _TEMPORARY) and error.retry_after_s is not None:
        return {"Retry-After": str(error.retry_after_s)}
    return {}


def _response(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> ConnexionResponse:
    return ConnexionResponse(status, mimetype="application/json", body=body, headers=dict(headers or {}))
