"""Connections: what is no HTTP, or has no end, is refused in the one shape too, and a stop loses no request.

Uvicorn answers what is no HTTP before any application is asked, in plain text, and reads request headers of any length.

Asked to stop, it closes at once every connection on which no request runs; but a load balancer that has just sent one
over such a connection may not send it again, for all it knows it was done. Here every connection is told with its next
answer, `Connection: close`, and only one over which nothing comes is closed without a word.
"""

import select

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD_MAX_BYTES = 64 * 1024
# A load balancer uses a busy connection again in less. One that it uses more rarely is closed while it is silent; what
# remains is a request that is on its way just then, as whenever a server closes a connection that was kept.
_GRACE_S = 2


class StrictHttpProtocol(HttpToolsProtocol):
    """Uvicorn's reader of HTTP."""

    _in_head = False
    _head_bytes = 0
    _stopping = False

    def on_message_begin(self) -> None:
        """Begin to count the request line and the headers of a request."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """Stop counting: a body has a limit of its own."""
        self._in_head = False
        super().on_headers_complete()
        if self._stopping:
            self.cycle.keep_alive = False

    def data_received(self, data: bytes) -> None:
        """Read on, unless it is the head of a request that does not end."""
        super().data_received(data)
        self._head_bytes += len(data)
        if self._in_head and self._head_bytes > _HEAD_MAX_BYTES and not self.transport.is_closing():
            self._refuse(b"431 Request Header Fields Too Large", "The request line and headers are too long.")
        if self._stopping:
            self._limit_silence()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 it tells no more than ours
        """Answer what can't be read as HTTP, and end the connection."""
        self._refuse(b"400 Bad Request", "This is not a valid HTTP request.")

    def shutdown(self) -> None:
        """Let the next answer be the last, if one is asked for within the grace."""
        self._stopping = True
        self.timeout_keep_alive = _GRACE_S  # after an answer that has begun already, and can't say that it is the last
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False
        self._limit_silence()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection over which nothing has come: a loop that is late calls this before it reads what has."""
        if not self.transport.is_closing() and not _is_readable(self.transport.get_extra_info("socket").fileno()):
            self.transport.close()

    def _limit_silence(self) -> None:
        """Give the client the grace, counted anew from each part of a request, if it is its turn to send."""
        answering = self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body
        if answering or self.pipeline or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(_GRACE_S, self.timeout_keep_alive_handler)

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


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
