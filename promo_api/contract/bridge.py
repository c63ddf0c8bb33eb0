"""One hop from the event loop to a handler's thread, through Flask, and back with the whole answer.

Connexion bridges with a2wsgi: ten threads, not to be changed, and several hops a request to pass the body and the
answer in pieces. Here the body has been read before and the answer is small, so there is one hop each way.
"""

import asyncio
import contextvars
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any

import flask
import orjson
from connexion.middleware.abstract import ROUTING_CONTEXT
from starlette.types import Receive, Scope, Send

from promo_api.contract.binding import BoundHandler
from promo_api.contract.validation import call_of

_CONTEXT = "connexion_context"

_Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
_Answered = asyncio.Future[_Answer | Exception]


class Lanes:
    """An ASGI application that gives each request to the threads of its operation's lane.

    An operation that waits for others may take all threads there are; in a lane of its own it takes none of the rest.

    Args:
        lanes: by name.
        names: the lane of each operation, by operationId.
    """

    def __init__(self, lanes: Mapping[str, "ThreadBridge"], names: Mapping[str, str]) -> None:
        self._lanes = {operation_id: lanes[name] for operation_id, name in names.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; exceptions of the handler are raised here."""
        await self._lanes[_operation_id(scope)](scope, receive, send)


class ThreadBridge:
    """An ASGI application that runs a WSGI one in threads of its own.

    The standard library's executor would do, but what it adds to a request costs more than all of its validation.
    """

    def __init__(self, wsgi_app: Callable[..., Iterable[bytes]], threads: int) -> None:
        self._wsgi_app = wsgi_app
        self._size = threads
        self._threads: list[Thread] = []
        self._waiting: SimpleQueue[tuple[Scope, contextvars.Context, _Answered] | None] = SimpleQueue()

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer a request; exceptions of the handler are raised here."""
        if not self._threads:
            self._start()
        answered: _Answered = asyncio.get_running_loop().create_future()
        self._waiting.put((scope, contextvars.copy_context(), answered))
        answer = await answered
        if isinstance(answer, Exception):
            raise answer
        status, headers, body = answer
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def close(self) -> None:
        """Wait for the requests that run, and end the threads."""
        for _ in self._threads:
            self._waiting.put(None)
        while self._threads:
            self._threads.pop().join()

    def _start(self) -> None:
        """Start the threads: at the first request, since they would not outlive the fork into a worker."""
        for n in range(self._size):
            thread = Thread(target=self._work, name=f"handler_{n}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _work(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            scope, context, answered = waiting
            answer = context.run(self._answer, scope)
            with suppress(RuntimeError):  # the loop has ended: nobody waits any more
                answered.get_loop().call_soon_threadsafe(_settle, answered, answer)

    def _answer(self, scope: Scope) -> _Answer | Exception:
        try:
            return self._run(scope)
        except Exception as error:  # noqa: BLE001 raised again where the request waits
            return error

    def _run(self, scope: Scope) -> _Answer:
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


def _settle(answered: _Answered, answer: _Answer | Exception) -> None:
    if not answered.done():  # cancelled meanwhile
        answered.set_result(answer)


class FoundView:
    """What Flask asks for the view of a request, if it need not search: our routing has found it."""

    def __init__(self, rule: object) -> None:
        self._rule = rule

    def match(self, *, return_rule: bool) -> tuple[object, dict[str, Any]]:  # noqa: ARG002 Flask wants nothing else
        """Return the rule; the values of its path are with the rest of what was checked."""
        return self._rule, {}


def view_finder(views: Mapping[str, FoundView]) -> Callable[[flask.Request | None], FoundView | None]:
    """Return what takes the place of Flask's `create_url_adapter`, given the views by operationId.

    Flask's own would route by path once more, in its own way, for nearly half of what Flask costs.
    """

    def find(request: flask.Request | None) -> FoundView | None:
        if request is None:
            return None
        return views[_operation_id(request.environ["asgi.scope"])]

    return find


def _operation_id(scope: Scope) -> str:
    operation_id: str = scope["extensions"][ROUTING_CONTEXT]["operation_id"]
    return operation_id


def make_view(handler: BoundHandler) -> Callable[..., flask.Response]:
    """Return the Flask view of an operation.

    Connexion's own view reads path, query and body once more, by its own rules, and works out anew for each request
    what the function takes. This one hands over what has been checked.
    """

    def view() -> flask.Response:
        scope = flask.request.environ["asgi.scope"]
        token_info = scope["extensions"].get(_CONTEXT, {}).get("token_info", {})
        answer = handler(call_of(scope), token_info)
        body, status, headers = (*answer, {})[:3] if isinstance(answer, tuple) else (answer, 200, {})
        return flask.Response(orjson.dumps(body), status, headers, mimetype="application/json")

    return view


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
