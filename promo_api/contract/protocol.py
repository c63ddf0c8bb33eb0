"""What is no HTTP, or has no end, is refused in the one shape too.

Uvicorn answers it before any application is asked, in plain text, and reads request headers of any length.
"""

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD_MAX_BYTES = 64 * 1024


class StrictHttpProtocol(HttpToolsProtocol):
    """Uvicorn's reader of HTTP."""

    _in_head = False
    _head_bytes = 0

    def on_message_begin(self) -> None:
        """Begin to count the request line and the headers of a request."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """Stop counting: a body has a limit of its own."""
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Read on, unless it is the head of a request that does not end."""
        super().data_received(data)
        self._head_bytes += len(data)
        if self._in_head and self._head_bytes > _HEAD_MAX_BYTES and not self.transport.is_closing():
            self._refuse(b"431 Request Header Fields Too Large", "The request line and headers are too long.")

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 it tells no more than ours
        """Answer what can't be read as HTTP, and end the connection."""
        self._refuse(b"400 Bad Request", "This is not a valid HTTP request.")

    def _refuse(self, status: bytes, message: str) -> None:
        body = orjson.dumps({"status": "error", "message": message})
        lines = (
            b"HTTP/1.1 " + status,
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"connection: close",
        )
        self.transport.write(b"\r\n".join((*lines, b"", body)))
        self.transport.close()
