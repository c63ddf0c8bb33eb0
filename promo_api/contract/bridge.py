"""One hop from the event loop to a handler's thread, through Flask, and back with the whole answer.

Connexion bridges with a2wsgi: ten threads, not to be changed, and several hops a request to pass the body and the
answer in pieces. Here the body has been read before and the answer is small, so there is one hop each way.
"""

import asyncio
import contextvars
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import flask
import orjson
from starlette.types import Receive, Scope, Send

from promo_api.contract.binding import BoundHandler
from promo_api.contract.routing import FLASK_PATH
from promo_api.contract.validation import call_of

_CONTEXT = "connexion_context"


class ThreadBridge:
    """An ASGI application that runs a WSGI one in threads of its own."""

    def __init__(self, wsgi_app: Callable[..., Iterable[bytes]], threads: int) -> None:
        self._wsgi_app = wsgi_app
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="handler")

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer a request; exceptions of the handler are raised here."""
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        status, headers, body = await loop.run_in_executor(self._threads, context.run, self._run, scope)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def close(self) -> None:
        """Wait for the requests that run, and end the threads."""
        self._threads.shutdown()

    def _run(self, scope: Scope) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _error: object = None) -> None:
            started[:] = int(status[:3]), [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]

        chunks = self._wsgi_app(_environ(scope), start_response)
        try:
            body = b"".join(chunks)
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
        status, headers = started
        return status, headers, body


def make_view(handler: BoundHandler) -> Callable[..., flask.Response]:
    """Return the Flask view of an operation.

    Connexion's own view reads path, query and body once more, by its own rules, and works out anew for each request
    what the function takes. This one hands over what has been checked.
    """

    def view(**_path_values: str) -> flask.Response:
        scope = flask.request.environ["asgi.scope"]
        token_info = scope["extensions"].get(_CONTEXT, {}).get("token_info", {})
        answer = handler(call_of(scope), token_info)
        body, status, headers = (*answer, {})[:3] if isinstance(answer, tuple) else (answer, 200, {})
        return flask.Response(orjson.dumps(body), status, headers, mimetype="application/json")

    return view


def _environ(scope: Scope) -> dict[str, Any]:
    """Return as much of a WSGI environment as Flask needs to find the view, which takes the rest from the scope."""
    return {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["extensions"][FLASK_PATH],
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "asgi.scope": scope,
    }
