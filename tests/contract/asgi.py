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
        content: the whole body.
        raised: the exception that the application raised after its response.
    """

    status: int = 0
    headers: list[Header] = field(default_factory=list)
    content: bytes = b""
    raised: BaseException | None = None

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


def call(
    app: ASGIApp,
    method: str,
    target: str,
    *,
    headers: Iterable[Header] = (),
    body: bytes | None = None,
    chunks: Iterable[bytes] | None = None,
    disconnects: bool = False,
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
    """
    all_headers = list(headers)
    if body is not None:
        all_headers.append(("content-length", str(len(body))))
    return asyncio.run(
        _run(app, _scope(method, target, all_headers), [body or b""] if chunks is None else [*chunks], disconnects)
    )


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


async def _run(app: ASGIApp, scope: dict[str, Any], parts: list[bytes], disconnects: bool) -> Response:
    response = Response()
    left = list(parts)

    async def receive() -> dict[str, Any]:
        if not left:
            if response.status or not disconnects:
                await asyncio.Event().wait()
            return {"type": "http.disconnect"}
        part = left.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(left) or disconnects}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            response.status = message["status"]
            response.headers = [(name.decode(), value.decode("latin-1")) for name, value in message["headers"]]
        else:
            response.content += message.get("body", b"")

    try:
        await app(scope, receive, send)
    except Exception as error:  # noqa: BLE001 a server would log it and go on
        response.raised = error
    return response
