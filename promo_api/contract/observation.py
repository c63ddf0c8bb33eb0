"""Each request goes by an id, and is told of when it has been answered."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from uuid import uuid4

from connexion.middleware.abstract import ROUTING_CONTEXT
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from promo_api.logs import REQUEST_ID

# What may stand in a log line and in a header as it is, and is no e-mail address.
_SANE = re.compile(rb"[A-Za-z0-9._:/+=-]{1,100}")
_HEADER = b"x-request-id"


@dataclass(frozen=True)
class Answered:
    """A request that has been answered.

    Attributes:
        request_id: what it goes by.
        method: of HTTP.
        operation_id: of api.yml; "" if it asked for something else, the documentation or nothing that there is.
        status: of the answer; 0 if it was cut before it had one.
        duration_s: from its first header to the last byte of the answer, as far as they are known here.
    """

    request_id: str
    method: str
    operation_id: str
    status: int
    duration_s: float


Observe = Callable[[Answered], None]


class ObservationMiddleware:
    """Gives each request an id, which its answer and its log lines carry, and tells what became of it.

    Args:
        app: what answers.
        observe: is told of each request.
    """

    def __init__(self, app: ASGIApp, observe: Observe) -> None:
        self._app = app
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; what begins and ends the process passes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s, status, request_id = perf_counter(), 0, _request_id(scope)
        REQUEST_ID.set(request_id)
        header = (_HEADER, request_id.encode())

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], header]
            await send(message)

        try:
            await self._app(scope, receive, told)
        finally:
            operation_id = scope.get("extensions", {}).get(ROUTING_CONTEXT, {}).get("operation_id", "")
            self._observe(Answered(request_id, scope["method"], operation_id, status, perf_counter() - began_s))


def _request_id(scope: Scope) -> str:
    """Return the id that the sender gave, if it is sane and the only one, else a new one."""
    given = [value for name, value in scope["headers"] if name == _HEADER]
    if len(given) == 1 and _SANE.fullmatch(given[0]):
        return str(given[0].decode())
    return uuid4().hex
