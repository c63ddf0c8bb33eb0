"""What is no HTTP is refused in the one shape too.

Uvicorn answers it before any application is asked, in plain text.
"""

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_BODY = orjson.dumps({"status": "error", "message": "This is not a valid HTTP request."})
_LINES = (
    b"HTTP/1.1 400 Bad Request",
    b"content-type: application/json",
    b"content-length: %d" % len(_BODY),
    b"connection: close",
)


class StrictHttpProtocol(HttpToolsProtocol):
    """Uvicorn's reader of HTTP."""

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 it tells no more than ours
        """Answer what can't be read as HTTP, and end the connection."""
        self.transport.write(b"\r\n".join((*_LINES, b"", _BODY)))
        self.transport.close()
