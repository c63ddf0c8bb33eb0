"""Each request goes by an id, and is told of once, when it has been answered."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from promo_api.contract.operations import find_operation_id
from promo_api.logs import REQUEST_ID

# What may stand in a log line and in a header as it is, and is no e-mail address.
_SANE = re.compile(rb"[A-Za-z0-9._:/+=-]{1,100}")
_HEADER = b"x-request-id"
# In the scope of a request: the id that it goes by, and whether it has been told of.
_ID, _TOLD = "promo_api.request_id", "promo_api.told"


@dataclass(frozen=True)
class Answered:
    """A request that has been answered.

    Attributes:
        request_id: what it goes by.
        method: of HTTP; "" if that could not be read.
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
Begin = Callable[[], None]


class ObservationMiddleware:
    """Gives each request an id, which its answer and its log lines carry, and tells what became of it.

    Args:
        app: what answers.
        observe: is told of each request once it has ended.
        begin: is called when a request comes.
    """

    def __init__(self, app: ASGIApp, observe: Observe, begin: Begin = lambda: None) -> None:
        self._app = app
        self._observe = observe
        self._begin = begin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; what begins and ends the process passes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s, status, request_id = perf_counter(), 0, self._identified(scope)
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
            if _TOLD not in scope:
                self._tell(scope, status, began_s)

    def refused(self, scope: Any, status: int, began_s: float) -> str:
        """Tell of a request that the server itself refuses, and return the id for its answer.

        The application may be waiting for the rest of it, and is not told of as well; or have answered it already, and
        what has come since is refused as a request of its own.

        Args:
            scope: as much of it as is known; None: nothing.
            status: of the answer.
            began_s: by time.perf_counter, if anything is known.
        """
        if scope is None or _TOLD in scope:
            scope, began_s = {"headers": []}, perf_counter()
        request_id = self._identified(scope)
        self._tell(scope, status, began_s)
        return request_id

    def _tell(self, scope: Scope, status: int, began_s: float) -> None:
        scope[_TOLD] = True
        duration_s = perf_counter() - began_s
        self._observe(Answered(scope[_ID], scope.get("method", ""), find_operation_id(scope), status, duration_s))

    def _identified(self, scope: Scope) -> str:
        """Return the id of a request, which begins when it gets it: what the sender gave, if that is sane and the only
        one, else a new one.
        """
        if _ID not in scope:
            given = [value for name, value in scope["headers"] if name == _HEADER]
            sane = len(given) == 1 and _SANE.fullmatch(given[0])
            scope[_ID] = given[0].decode() if sane else uuid4().hex
            self._begin()
        request_id: str = scope[_ID]
        return request_id
