"""Requests to an ASGI application, including requests that an HTTP client would not send."""

import asyncio
import json
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp

Header = tuple[str, str]

JSON: Header = ("content-type", "application/json")


@dataclass
class Response:
    """A response.

    Attributes:
        status: 0 if the application sent nothing.
        headers: in lower case, in order.
        parts: the parts of the body, as the application sent them.
        is_complete: whether the application sent the last part.
        read_parts: how many parts of the request the application has read.
        raised: the exception that the application raised after its response.
    """

    status: int = 0
    headers: list[Header] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    is_complete: bool = False
    read_parts: int = 0
    raised: BaseException | None = None

    @property
    def content(self) -> bytes:
        """The whole body."""
        return b"".join(self.parts)

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.content)

    def header(self, name: str) -> str | None:
        """Return the value of a header; None if it is missing."""
        values = [value for each, value in self.headers if each == name]
        assert len(values) < 2, f"the response has {name} {len(values)} times"
        return values[0] if values else None

    def details(self) -> list[dict[str, str]]:
        """Return the violations of an error."""
        details: list[dict[str, str]] = self.json().get("details", [])
        return details


class Connection:
    """A connection that the application or the client may abort."""

    def __init__(self) -> None:
        self.is_aborted = False

    def is_closing(self) -> bool:
        """Return whether it was aborted."""
        return self.is_aborted

    def abort(self) -> None:
        """End it."""
        self.is_aborted = True


def call(
    app: ASGIApp,
    method: str,
    target: str,
    *,
    headers: Iterable[Header] = (),
    body: bytes | None = None,
    chunks: Iterable[bytes] | None = None,
    disconnects: bool = False,
    connection: Connection | None = None,
) -> Response:
    """Send a request, and return its response.

    Args:
        app: the application.
        method: in any case.
        target: path and query, percent-encoded.
        headers: without Content-Length.
        body: sent with Content-Length.
        chunks: sent without a length, instead of `body`.
        disconnects: the client disconnects before the end of the body.
        connection: given to the application.
    """
    all_headers = list(headers)
    if body is not None:
        all_headers.append(("content-length", str(len(body))))
    scope = _scope(method, target, all_headers)
    if connection is not None:
        scope["extensions"] = {"promo_api.connection": connection}
    return asyncio.run(_run(app, scope, [body or b""] if chunks is None else [*chunks], disconnects, connection))


def _scope(method: str, target: str, headers: list[Header]) -> dict[str, Any]:
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        # Like uvicorn.
        "path": unquote(path),
        "raw_path": path.encode("ascii"),
        "query_string": query.encode("ascii"),
        "root_path": "",
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8080),
        "state": {},
    }


async def _run(
    app: ASGIApp, scope: dict[str, Any], parts: list[bytes], disconnects: bool, connection: Connection | None
) -> Response:
    response = Response()
    left = list(parts)

    async def receive() -> dict[str, Any]:
        aborted = connection is not None and connection.is_aborted
        if response.is_complete or aborted or not left:
            if not response.is_complete and not aborted and not disconnects:
                await asyncio.Event().wait()
            return {"type": "http.disconnect"}
        response.read_parts += 1
        part = left.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(left) or disconnects}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            response.status = message["status"]
            response.headers = [(name.decode(), value.decode("latin-1")) for name, value in message["headers"]]
        else:
            response.parts.append(message.get("body", b""))
            response.is_complete = not message.get("more_body")

    try:
        await app(scope, receive, send)
    except Exception as error:  # noqa: BLE001 a server would log it and go on
        response.raised = error
    return response
