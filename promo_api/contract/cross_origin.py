"""Cross-origin requests (CORS), off by default.

Browsers do not add the token by themselves, so `*` does not let a page act for its user.
"""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from promo_api.contract.error_responses import error_body

_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
_REQUEST_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id")
_RESPONSE_HEADERS = (
    "Idempotent-Replayed",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-Id",
    "X-Total-Count",
)
_PREFLIGHT_MAX_AGE_S = 3600


def allow_origins(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Let pages of these origins call the application; `*` is any."""
    if not origins:
        return app
    return _CrossOrigin(
        app,
        allow_origins=origins,
        allow_methods=_METHODS,
        allow_headers=_REQUEST_HEADERS,
        expose_headers=_RESPONSE_HEADERS,
        max_age=_PREFLIGHT_MAX_AGE_S,
    )


class _CrossOrigin(CORSMiddleware):
    """Starlette's CORS middleware, with the common error body."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Respond to a preflight request."""
        response = super().preflight_response(request_headers)
        allowed = response.status_code == 200  # noqa: PLR2004 set by Starlette
        headers = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        if allowed:
            return Response(status_code=204, headers=headers)
        body = error_body("origin_not_allowed", "This request is not allowed from this origin.")
        return Response(body, 400, headers, "application/json")
