"""Cross-origin requests (CORS), off by default.

Browsers do not add the token by themselves, so `*` does not let a page act for its user.
"""

import re
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from promo_api.contract.error_responses import error_body
from promo_api.contract.schemas import MAX_VIOLATIONS

_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_REQUEST_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "X-Request-Id")
# Added by tracing libraries to every request of a page.
_TRACING_HEADERS = ("baggage", "sentry-trace", "traceparent", "tracestate")
_RESPONSE_HEADERS = (
    "ETag",
    "Idempotent-Replayed",
    "Link",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Next-Cursor",
    "X-Request-Id",
    "X-Total-Count",
)
_PREFLIGHT_MAX_AGE_S = 3600
# Other names are not repeated in errors.
_PLAIN_NAME = re.compile(r"[a-z0-9_-]{1,60}")


def allow_origins(app: ASGIApp, origins: Sequence[str], request_headers: Sequence[str] = ()) -> ASGIApp:
    """Let pages of these origins call the application, also with these headers; `*` is any origin."""
    if not origins:
        return app
    return _CrossOrigin(
        app,
        allow_origins=origins,
        allow_methods=_METHODS,
        allow_headers=(*_REQUEST_HEADERS, *_TRACING_HEADERS, *request_headers),
        expose_headers=_RESPONSE_HEADERS,
        max_age=_PREFLIGHT_MAX_AGE_S,
    )


class _CrossOrigin(CORSMiddleware):
    """Starlette's CORS middleware, with the common error body."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Respond to a preflight request."""
        stock = super().preflight_response(request_headers)
        headers = {name: value for name, value in stock.headers.items() if not name.startswith("content-")}
        refusal = self._refusal(request_headers)
        if refusal is None:
            return Response(status_code=204, headers=headers)
        return Response(refusal, 400, headers, "application/json")

    def _refusal(self, request_headers: Headers) -> bytes | None:
        """Return the body of the error; None: the preflight is allowed."""
        if not self.is_allowed_origin(request_headers["origin"]):
            return error_body("origin_not_allowed", "Pages of this origin may not call the service.")
        if request_headers["access-control-request-method"] not in self.allow_methods:
            message = "Pages may call the service with DELETE, GET, HEAD, PATCH, POST and PUT only."
            return error_body("cors_method_not_allowed", message)
        names = request_headers.get("access-control-request-headers", "").lower().split(",")
        refused = [name for name in map(str.strip, names) if name and name not in self.allow_headers]
        if not refused:
            return None
        message = "Pages may not call the service with these headers. See `details` and Access-Control-Allow-Headers."
        return error_body("cors_headers_not_allowed", message, details=[*map(_detail, refused[:MAX_VIOLATIONS])])


def _detail(name: str) -> dict[str, str]:
    pointer = f"/{name}" if _PLAIN_NAME.fullmatch(name) else ""
    return {"in": "header", "pointer": pointer, "message": "is not allowed"}
