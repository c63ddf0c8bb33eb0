"""Strict HTTP: reject what RFC 9112 says to reject, because a proxy may read it differently.

uvicorn accepts such requests, does not limit heads, drops the body of a request to upgrade, and adds trailers to the
headers: a token could arrive after authentication.
"""

import re
from http import HTTPStatus
from time import perf_counter

from httptools import HttpRequestParser

from promo_api.contract.error_responses import error_body
from promo_api.contract.security_headers import SECURITY_HEADERS
from promo_api.server.pipelining import PipeliningProtocol
from promo_api.telemetry.requests import InstrumentationMiddleware

# The head, chunk headers and trailers.
_MAX_OVERHEAD_BYTES = 64 * 1024
_MAX_HEADERS = 100
_TARGET = re.compile(rb"(https?://[^/?#]+)?/[^#]*", re.IGNORECASE | re.DOTALL)
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")


class StrictProtocol(PipeliningProtocol):
    """A connection that rejects malformed HTTP and oversized heads."""

    _in_message = False
    _in_head = False
    _in_body = False
    _overhead_bytes = 0
    _began_s = 0.0
    # The head of a request with Upgrade, without that header.
    _plain_head: bytes | None = None
    # Sent after all earlier responses.
    _rejection: bytes | None = None

    def on_message_begin(self) -> None:
        """Start to count the overhead."""
        super().on_message_begin()
        self._in_message = self._in_head = True
        self._overhead_bytes, self._began_s = 0, perf_counter()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header; ignore trailers."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start to process a request.

        Raises:
            ValueError: rejected; the parser then calls send_400_response.
        """
        self._in_head = False
        if self._is_too_long() or not self._is_strict():
            raise ValueError
        if self._has_upgrade():
            self._plain_head = self._head_without_upgrade()
            return
        super().on_headers_complete()
        self._in_body = True
        if self._is_connect():
            self.cycle.keep_alive = False
            self._ignores_input = True

    def on_body(self, body: bytes) -> None:
        """Add a part of the body, which is not overhead."""
        # Twice: each byte may need one of chunk headers. Not without end: the parser stores a trailer.
        self._overhead_bytes = max(self._overhead_bytes - 2 * len(body), -_MAX_OVERHEAD_BYTES)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        if not self._has_upgrade():
            self._in_message = self._in_body = False
            super().on_message_complete()

    def on_upgrade(self, rest: bytes) -> None:
        """Ignore Upgrade, as a server may (RFC 9110, 7.8); after CONNECT, ignore the rest.

        The parser takes the bytes after the head for another protocol. So a new parser gets the head without Upgrade.
        It reads the body by its Content-Length or chunks, as a proxy does, and then the next request.
        """
        head, self._plain_head = self._plain_head, None
        if head is not None:
            self.parser = HttpRequestParser(self)
            # As uvicorn does: bytes after the last request are ignored.
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            super().feed(head + rest)

    def on_response_complete(self) -> None:
        """After the last response, send the rejection."""
        super().on_response_complete()
        if not self._unanswered:
            self._send_rejection()

    def feed(self, piece: bytes) -> None:
        """Parse a piece, and reject too much overhead."""
        self._overhead_bytes += len(piece)
        super().feed(piece)
        if self._is_too_long() and not self._ignores_input and not self.transport.is_closing():
            self._reject_length()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 the parser's message repeats input
        """Reject what the parser cannot read."""
        if self._is_too_long():
            self._reject_length()
        else:
            self.reject(HTTPStatus.BAD_REQUEST, "malformed_http", "This is not a valid HTTP request.")

    def reject(self, status: HTTPStatus, code: str, message: str) -> None:
        """Reject the request after all earlier responses: clients match them by order."""
        self._rejection = self._rejection_bytes(status, error_body(code, message))
        self._ignores_input = True
        if self._in_body and self.pipeline:  # queued: it must not start
            self.pipeline.popleft()
            self._unanswered.pop()
            if not self._unanswered:
                self._send_rejection()
        elif self._in_body or not self._unanswered:
            self._send_rejection()

    def _is_too_long(self) -> bool:
        # Before a request starts: a rejected one must have no effect.
        return self._overhead_bytes > _MAX_OVERHEAD_BYTES or len(self.headers or ()) > _MAX_HEADERS

    def _reject_length(self) -> None:
        message = "The headers or chunk headers of this request are too long."
        self.reject(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", message)

    def _is_strict(self) -> bool:
        version = self.parser.get_http_version()
        hosts, codings = self._values(b"host"), self._values(b"transfer-encoding")
        return (
            version in ("1.0", "1.1")
            and len(hosts) in ((0, 1) if version == "1.0" else (1,))
            and all(_HOST.fullmatch(host) for host in hosts)
            and (not codings or (version == "1.1" and codings == [b"chunked"]))
            # The bytes after CONNECT are no body.
            and not (self._is_connect() and (codings or self._values(b"content-length") not in ([], [b"0"])))
            and _TARGET.fullmatch(self.url) is not None
        )

    def _is_head(self) -> bool:
        """Return whether the response must have no body."""
        return self._in_message and bool(self.url) and self.parser.get_method() == b"HEAD"

    def _is_connect(self) -> bool:
        return self.parser.get_method() == b"CONNECT"

    def _has_upgrade(self) -> bool:
        return self.parser.should_upgrade() and not self._is_connect()

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join((*lines, b"", b""))

    def _values(self, header: bytes) -> list[bytes]:
        return [value.strip().lower() for name, value in self.headers if name == header]

    def _rejection_bytes(self, status: HTTPStatus, body: bytes) -> bytes:
        lines = [
            b"HTTP/1.1 %d %s" % (status, status.phrase.encode()),
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"connection: close",
            *(b"%s: %s" % header for header in SECURITY_HEADERS),
        ]
        if isinstance(self.app, InstrumentationMiddleware):
            lines.append(b"x-request-id: " + self.app.record_refusal(self.scope, status, self._began_s).encode())
        return b"\r\n".join((*lines, b"", b"" if self._is_head() else body))

    def _send_rejection(self) -> None:
        if self._rejection is not None and not self.transport.is_closing():
            self.transport.write(self._rejection)
            self.transport.close()
            self.disconnect_requests()
