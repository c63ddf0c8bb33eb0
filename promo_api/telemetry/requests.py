"""Request instrumentation."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from promo_api.contract.operations import find_operation_id
from promo_api.contract.sender import credentials_kind
from promo_api.telemetry.logs import REQUEST_ID

# Needs no escaping, and cannot be an e-mail address.
_VALID_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,100}")
_HEADER = b"x-request-id"
_ID, _REPORTED = "promo_api.request_id", "promo_api.request_reported"


@dataclass(frozen=True)
class RequestFinished:
    """A finished request.

    Attributes:
        request_id: in the response and in log lines.
        method: "": unreadable.
        operation_id: "": not in api.yml.
        status: 0: no response.
        duration_s: until the last byte of the response.
        target: path and query as sent; b"": unreadable.
        credentials: `token` or `key`, even if revoked; `none` if there are none or malformed ones.
    """

    request_id: str
    method: str
    operation_id: str
    status: int
    duration_s: float
    target: bytes = b""
    credentials: str = "none"


class InstrumentationMiddleware:
    """Gives each request an id, and reports its end."""

    def __init__(
        self, app: ASGIApp, on_finish: Callable[[RequestFinished], None], on_start: Callable[[], None] = lambda: None
    ) -> None:
        self._app = app
        self._on_finish = on_finish
        self._on_start = on_start

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond with X-Request-Id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s, status, request_id = perf_counter(), 0, self._identify(scope)
        REQUEST_ID.set(request_id)
        header = (_HEADER, request_id.encode())

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], header]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            if _REPORTED not in scope:
                self._report(scope, status, began_s)

    def record_refusal(self, scope: Any, status: int, began_s: float) -> str:
        """Report a request refused without the application, and return its id.

        If the request (None: unreadable) was reported before, the refusal counts as a new request.
        """
        if scope is None or _REPORTED in scope:
            scope, began_s = {"headers": []}, perf_counter()
        request_id = self._identify(scope)
        self._report(scope, status, began_s)
        return request_id

    def _report(self, scope: Scope, status: int, began_s: float) -> None:
        scope[_REPORTED] = True
        duration_s = perf_counter() - began_s
        self._on_finish(
            RequestFinished(
                scope[_ID],
                scope.get("method", ""),
                find_operation_id(scope),
                status,
                duration_s,
                _target(scope),
                credentials_kind(scope),
            )
        )

    def _identify(self, scope: Scope) -> str:
        """Return the client's id if it is valid, or a new id."""
        if _ID not in scope:
            values = [value for name, value in scope["headers"] if name == _HEADER]
            is_valid = len(values) == 1 and _VALID_ID.fullmatch(values[0])
            scope[_ID] = values[0].decode() if is_valid else uuid4().hex
            self._on_start()
        request_id: str = scope[_ID]
        return request_id


def _target(scope: Scope) -> bytes:
    path: bytes = scope.get("raw_path") or b""
    query: bytes = scope.get("query_string") or b""
    return path + b"?" + query if query else path
