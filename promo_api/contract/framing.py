"""What is no HTTP, or has no end, is refused in the one shape too.

Uvicorn answers it before any application is asked, in plain text, and reads request headers of any length. It also lets
pass what RFC 9112 has a server refuse, since a proxy before it may have understood it differently: no Host or two of
them, a transfer coding that it does not know, a target with a fragment, another version; and it takes trailers, which
come after the body, for headers, so that a token could come after all who look for one.

Nobody is offered another protocol, so a request that asks for one is answered as any other. But the parser takes what
follows it for that protocol: the body would be lost, or be read as the next request. So one with a body is refused, and
the answer to one without is the last on its connection.

A refusal is the answer to one request, and has its turn after the answers to those before it: else a client that sends
several at once would take it for the answer to the first, which is carried out.
"""

import re
from http import HTTPStatus
from time import perf_counter

import orjson

from promo_api.contract.pipelining import PipelinedReader
from promo_api.contract.security_headers import SECURITY_HEADERS
from promo_api.telemetry.requests import InstrumentationMiddleware

_AROUND_MAX_BYTES = 64 * 1024
# As many as other servers take, and several times what any client of ours has to send.
_HEADERS_MAX = 100
_TARGET = re.compile(rb"(https?://[^/?#]+)?/[^#]*", re.IGNORECASE | re.DOTALL)
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")


class StrictReader(PipelinedReader):
    """Uvicorn's reader of HTTP, made strict."""

    _in_head = False
    # All that a request has beside its body, less the body: who sends much may need many chunks for it.
    _around_bytes = 0
    _began_s = 0.0
    _in_body = False
    # The refusal that is sent after all responses before it, and ends the connection.
    _refusal: bytes | None = None

    def on_message_begin(self) -> None:
        """Begin to count what a request has beside its body."""
        super().on_message_begin()
        self._in_head, self._around_bytes, self._began_s = True, 0, perf_counter()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, and leave out a trailer."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer a request, unless its head is one that RFC 9112 refuses.

        Raises:
            ValueError: it is; the parser turns that into a request that can't be read.
        """
        self._in_head = False
        if self._is_too_long() or not self._is_strict():
            raise ValueError
        super().on_headers_complete()
        self._in_body = True
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False
            self._ignores_input = True

    def on_body(self, body: bytes) -> None:
        """Take a part of the body: there are other limits for that."""
        self._around_bytes -= 2 * len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a request."""
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Start the next request; after the last response, send the refusal if there is one."""
        super().on_response_complete()
        if not self._unanswered:
            self._end()

    def feed(self, piece: bytes) -> None:
        """Parse a piece, and refuse a request with too many bytes around its body."""
        self._around_bytes += len(piece)
        super().feed(piece)
        if self._is_too_long() and not self._ignores_input and not self.transport.is_closing():
            self._refuse_length()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 it tells no more than ours
        """Answer what can't be read as HTTP, and end the connection."""
        if self._is_too_long():
            self._refuse_length()
        else:
            self._refuse(HTTPStatus.BAD_REQUEST, "This is not a valid HTTP request.")

    def _is_too_long(self) -> bool:
        # Known before anybody begins to answer: what is refused must not be done.
        return self._around_bytes > _AROUND_MAX_BYTES or len(self.headers or ()) > _HEADERS_MAX

    def _refuse_length(self) -> None:
        message = "The head of this request, or what is around its body, is too long."
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, message)

    def _is_strict(self) -> bool:
        version = self.parser.get_http_version()
        hosts, codings = self._values(b"host"), self._values(b"transfer-encoding")
        return (
            version in ("1.0", "1.1")
            and len(hosts) in ((0, 1) if version == "1.0" else (1,))
            and all(_HOST.fullmatch(host) for host in hosts)
            and (not codings or (version == "1.1" and codings == [b"chunked"]))
            and not (self.parser.should_upgrade() and (codings or self._values(b"content-length") not in ([], [b"0"])))
            and _TARGET.fullmatch(self.url) is not None
        )

    def _values(self, wanted: bytes) -> list[bytes]:
        return [value.strip().lower() for name, value in self.headers if name == wanted]

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        body = orjson.dumps({"status": "error", "message": message})
        lines = [
            b"HTTP/1.1 %d %s" % (status, status.phrase.encode()),
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"connection: close",
            *(b"%s: %s" % header for header in SECURITY_HEADERS),
        ]
        if isinstance(self.app, InstrumentationMiddleware):
            lines.append(b"x-request-id: " + self.app.record_refusal(self.scope, status, self._began_s).encode())
        self._refusal = b"\r\n".join((*lines, b"", body))
        self._ignores_input = True
        if self._in_body and self.pipeline:  # its turn has not come: it must not start
            self.pipeline.popleft()
            self._unanswered.pop()
            if not self._unanswered:
                self._end()
        elif self._in_body or not self._unanswered:
            self._end()

    def _end(self) -> None:
        if self._refusal is not None and not self.transport.is_closing():
            self.transport.write(self._refusal)
            self.transport.close()
            self._disconnect()
