"""Pages of other origins, which a browser lets call the API if it says so: CORS, off where no origin is named.

Tokens are sent in a header that scripts set, and never by the browser itself, so `*` gives no page what its user does
not have, and no credentials are allowed.
"""

from collections.abc import Sequence

import orjson
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
_SENT = ("Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id")
# What a script may read of an answer beside its body.
_TOLD = (
    "Idempotent-Replayed",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-Id",
    "X-Total-Count",
)
_ASKED_AGAIN_S = 3600


def allow_origins(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Return the application for pages of these origins too; `*` is any, and with none it is as it was.

    Preflights need no token: they are answered before anybody looks for one.
    """
    if not origins:
        return app
    return _CrossOrigin(
        app,
        allow_origins=origins,
        allow_methods=_METHODS,
        allow_headers=_SENT,
        expose_headers=_TOLD,
        max_age=_ASKED_AGAIN_S,
    )


class _CrossOrigin(CORSMiddleware):
    """Starlette's, with refusals in the one shape of errors."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer the question of a browser whether a page may send a request."""
        response = super().preflight_response(request_headers)
        allowed = response.status_code == 200  # noqa: PLR2004 what Starlette answers with
        body = {"status": "error", "message": "Pages of this origin may not send this request."}
        headers = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        if allowed:
            return Response(status_code=204, headers=headers)
        return Response(orjson.dumps(body), 400, headers, "application/json")
