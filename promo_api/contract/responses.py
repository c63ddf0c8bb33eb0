"""Every error in the one shape: {"status": "error", "message", "details"}."""

import logging
from collections.abc import Mapping
from typing import Any

import orjson
from connexion import FlaskApp
from connexion.exceptions import OAuthProblem
from connexion.lifecycle import ConnexionRequest, ConnexionResponse
from starlette.exceptions import HTTPException

from promo_api.errors import (
    ActivationDenied,
    EmailTaken,
    InvalidInput,
    KeyReused,
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
FAILURE = orjson.dumps({"status": "error", "message": "The service failed. The failure has been logged."})

_STATUSES: dict[type[RequestError], int] = {
    InvalidInput: 400,
    Unauthenticated: 401,
    NotOwner: 403,
    WrongPassword: 403,
    ActivationDenied: 403,
    NotFound: 404,
    EmailTaken: 409,
    KeyReused: 422,
    TooManyRequests: 429,
    ServiceUnavailable: 503,
    Overloaded: 503,
}


def add_error_handlers(app: FlaskApp) -> None:
    """Have the application answer every exception in the one shape."""
    app.add_error_handler(RequestError, refused)
    app.add_error_handler(OAuthProblem, unauthorized)
    app.add_error_handler(HTTPException, http_error)
    app.add_error_handler(Exception, broken)


async def refused(_request: ConnexionRequest, error: RequestError) -> ConnexionResponse:
    """Answer what a handler or the contract refuses."""
    status = _STATUSES[type(error)]
    violations = error.violations if isinstance(error, InvalidInput) else ()
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, TooManyRequests):
        # As structured fields, by draft-ietf-httpapi-ratelimit-headers-10.
        headers["RateLimit-Policy"] = f'"{error.limit}";q={error.times};w={error.period_s}'
        headers["RateLimit"] = f'"{error.limit}";r=0;t={error.retry_after_s}'
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, Overloaded):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, ServiceUnavailable):
        headers["Retry-After"] = str(error.retry_after_s)
        _log.warning("dependency_down", extra={"reason": error.reason, "retry_after_s": error.retry_after_s})
    return _answer(status, error.message, headers, violations)


async def unauthorized(_request: ConnexionRequest, _error: OAuthProblem) -> ConnexionResponse:
    """Answer a request without a token, or with one that Connexion's security check did not take."""
    message = "This operation needs a valid token of the right kind: Authorization: Bearer <token>."
    return _answer(401, message, {"WWW-Authenticate": "Bearer"})


async def http_error(_request: ConnexionRequest, error: HTTPException) -> ConnexionResponse:
    """Answer what is wrong with a request as HTTP."""
    return _answer(error.status_code, error.detail, error.headers)


async def broken(_request: ConnexionRequest, error: Exception) -> ConnexionResponse:
    """Answer an exception that nobody foresaw: the log has its traceback, the sender learns nothing of it."""
    _log.error("unforeseen_error", exc_info=error)
    return ConnexionResponse(500, mimetype="application/json", body=FAILURE)


def _answer(
    status: int, message: str, headers: Mapping[str, str] | None = None, violations: tuple[Violation, ...] = ()
) -> ConnexionResponse:
    body: dict[str, Any] = {"status": "error", "message": message}
    if violations:
        body["details"] = [
            {"in": violation.place, "pointer": violation.pointer, "message": violation.message}
            for violation in violations
        ]
    return ConnexionResponse(status, mimetype="application/json", body=orjson.dumps(body), headers=dict(headers or {}))
