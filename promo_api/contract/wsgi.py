"""Flask as a WSGI application, called with as much of a request as its views need."""

from collections.abc import Callable, Iterable
from typing import Any

from starlette.types import Scope

# Status, headers and body.
Response = tuple[int, list[tuple[bytes, bytes]], bytes]


def run_wsgi(wsgi_app: Callable[..., Iterable[bytes]], scope: Scope) -> Response:
    """Run the WSGI application for a request whose body has been read, and return its whole response."""
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _error: object = None) -> None:
        started[:] = int(status[:3]), [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]

    chunks = wsgi_app(_environ(scope), start_response)
    try:
        body = b"".join(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    status, headers = started
    return status, headers, body


def _environ(scope: Scope) -> dict[str, Any]:
    """Return as much of a WSGI environment as Flask needs to run the view, which takes the rest from the scope."""
    return {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "asgi.scope": scope,
    }
