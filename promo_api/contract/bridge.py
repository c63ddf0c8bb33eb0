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
from time import monotonic
from typing import Any

import flask
import orjson
from connexion.middleware.abstract import ROUTING_CONTEXT
from starlette.types import Receive, Scope, Send

from promo_api.contract.binding import BoundHandler
from promo_api.contract.compression import compress
from promo_api.contract.validation import call_of

_CONTEXT = "connexion_context"
# Python runs one thread at a time. The more of them want to, the more often one is woken in vain: with eight, that was
# up to half of what a short request costs. Three keep it busy while PostgreSQL works for some of them.
_TAKING_TURNS = 3
# What takes longer waits for more than its turn to run: a lock, the anti-fraud service, a password hash.
_HELD_UP_S = 0.05

_Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
_Answered = asyncio.Future[_Answer | Exception]
_Request = tuple[Scope, contextvars.Context, _Answered]


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

    A few threads take turns. For each one that is held up there is another, as long as requests wait.

    The standard library's executor would do, but what it adds to a request costs more than all of its validation.

    Args:
        wsgi_app: what answers.
        threads: how many there are at most.
    """

    def __init__(self, wsgi_app: Callable[..., Iterable[bytes]], threads: int) -> None:
        self._wsgi_app = wsgi_app
        self._most = threads
        self._threads: list[Thread] = []
        self._waiting: SimpleQueue[_Request | None] = SimpleQueue()
        # When each request that is worked on was begun.
        self._begun_s: dict[_Answered, float] = {}
        # Of the event loop: requests without an answer, threads that have not been told to end, whether it will look.
        self._unanswered = 0
        self._size = 0
        self._looks = False

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer a request; exceptions of the handler are raised here."""
        answered: _Answered = asyncio.get_running_loop().create_future()
        self._waiting.put((scope, contextvars.copy_context(), answered))
        self._unanswered += 1
        self._see_to_it()
        answer = await answered
        if isinstance(answer, Exception):
            raise answer
        status, headers, body = answer
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def close(self) -> None:
        """Wait for the requests that run, and end the threads."""
        while self._size:
            self._end_one()
        while self._threads:
            self._threads.pop().join()

    def _see_to_it(self) -> None:
        """Have a thread for each request that waits, or as many as there may be; and look again while some wait.

        The first one is started at the first request, since it would not outlive the fork into a worker.
        """
        while self._unanswered > self._size < self._most and self._taking_turns() < _TAKING_TURNS:
            self._start_one()
        if self._unanswered > self._size and not self._looks:
            self._looks = True
            asyncio.get_running_loop().call_later(_HELD_UP_S, self._look)

    def _look(self) -> None:
        self._looks = False
        self._see_to_it()

    def _taking_turns(self) -> int:
        """Return how many threads are not held up."""
        held_up_since_s = monotonic() - _HELD_UP_S
        return self._size - sum(begun_s < held_up_since_s for begun_s in tuple(self._begun_s.values()))

    def _start_one(self) -> None:
        self._size += 1
        thread = Thread(target=self._work, name="handler", daemon=True)
        thread.start()
        self._threads = [*filter(Thread.is_alive, self._threads), thread]

    def _end_one(self) -> None:
        self._size -= 1
        self._waiting.put(None)

    def _work(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            scope, context, answered = waiting
            self._begun_s[answered] = monotonic()
            answer = context.run(self._answer, scope)
            with suppress(RuntimeError):  # the loop has ended: nobody waits any more
                answered.get_loop().call_soon_threadsafe(self._settle, answered, answer)

    def _settle(self, answered: _Answered, answer: _Answer | Exception) -> None:
        self._unanswered -= 1
        del self._begun_s[answered]
        if self._size > _TAKING_TURNS and self._taking_turns() > _TAKING_TURNS:
            self._end_one()
        if not answered.done():  # cancelled meanwhile
            answered.set_result(answer)

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
        content = orjson.dumps(body)
        if handler.compress:
            content, headers = compress(content, headers, scope["headers"])
        return flask.Response(content, status, headers, mimetype="application/json")

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
