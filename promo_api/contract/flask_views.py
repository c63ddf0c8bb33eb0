"""The Flask views, one for each operation. They get routed and validated requests."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import flask
import orjson
from starlette.types import Scope

from promo_api.contract.compression import compress
from promo_api.contract.conditional_requests import is_unchanged, take_if_none_match
from promo_api.contract.handler_resolver import BoundHandler
from promo_api.contract.operations import operation_id_of
from promo_api.contract.pooled_request import RunResult
from promo_api.contract.streams import StreamedResponse
from promo_api.contract.validation import call_of


class KnownView:
    """Replaces Werkzeug's URL adapter when the view is known."""

    def __init__(self, rule: object) -> None:
        self._rule = rule

    def match(self, *, return_rule: bool) -> tuple[object, dict[str, Any]]:  # noqa: ARG002 Flask passes it
        """Return the rule, without path parameters."""
        return self._rule, {}


def view_finder(views: Mapping[str, KnownView]) -> Callable[[flask.Request | None], KnownView | None]:
    """Return a replacement for Flask's `create_url_adapter`, with views by operationId.

    Routing a second time would take nearly half of the time in Flask.
    """

    def find(request: flask.Request | None) -> KnownView | None:
        return None if request is None else views[operation_id_of(request.environ["asgi.scope"])]

    return find


def make_view(handler: BoundHandler) -> Callable[..., flask.Response]:
    """Return a view; Connexion's would parse the request a second time, by other rules."""

    def view() -> flask.Response:
        scope = flask.request.environ["asgi.scope"]
        if_none_match = take_if_none_match(call_of(scope).arguments)
        result = handler(scope)
        body, status, headers = (*result, {})[:3] if isinstance(result, tuple) else (result, 200, {})
        if handler.negotiates:
            headers = {**headers, "Vary": "Accept"}
        if isinstance(body, StreamedResponse):
            headers = handler.validators.without_tag(headers)
            # Flask returns it unchanged, and `run_wsgi` does so too.
            return flask.Response(body, status, headers, content_type=body.media_type, direct_passthrough=True)
        content = orjson.dumps(body)
        headers = handler.validators.add_to(headers, content)
        unchanged = is_unchanged(headers, if_none_match)
        if handler.compress:
            content, headers = compress(b"" if unchanged else content, headers, scope["headers"])
        if unchanged:
            return flask.Response(status=304, headers=headers)
        return flask.Response(content, status, headers, mimetype="application/json")

    return view


def run_wsgi(wsgi_app: Callable[..., Iterable[bytes]], scope: Scope) -> RunResult:
    """Run a WSGI application without a request body. A streamed response is not run yet."""
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _error: object = None) -> None:
        started[:] = int(status[:3]), [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]

    chunks = wsgi_app(_environ(scope), start_response)
    if isinstance(chunks, StreamedResponse):
        status, headers = started
        return status, headers, chunks
    try:
        body = b"".join(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    status, headers = started
    return status, headers, body


def _environ(scope: Scope) -> dict[str, Any]:
    """Return the least that Flask needs. HEAD is GET, whose body uvicorn does not send."""
    return {
        "REQUEST_METHOD": "GET" if scope["method"] == "HEAD" else scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "asgi.scope": scope,
    }
