"""Responses that are sent before the body of their request has arrived, such as the refusal of an upload.

The rest of a short body is read and ignored. For a long one the response has `Connection: close`, and input is ignored
from then on: after `Expect: 100-continue` a client may go on with the body or with another request, and nothing shows
which. The connection stays half open for a moment, because closing it resets it, and the client may lose the response.
"""

from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from promo_api.server.strict_http import StrictProtocol

_MAX_IGNORED_BYTES = 64 * 1024
_MAX_DIGITS = 5
_HALF_OPEN_S = 5
_USUALLY_WITHOUT_BODY = ("GET", "HEAD")


class _LongCycle(RequestResponseCycle):
    """A request with a long body, and its response."""

    ends_early = False

    async def send(self, message: Any) -> None:
        """Send a message; announce the close, but leave it to the protocol."""
        if self.more_body and not self.response_started:
            self.keep_alive = False
        elif self.more_body and not message.get("more_body"):
            self.ends_early = self.keep_alive = True  # uvicorn would close at once
        await super().send(message)


class EarlyResponseProtocol(StrictProtocol):
    """A connection that closes after a response that was sent before a long body had arrived."""

    _is_half_open = False

    def on_headers_complete(self) -> None:
        """Find requests with a long body."""
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before and self._may_be_long():  # a head with Upgrade is parsed twice
            self.cycle.__class__ = _LongCycle

    def on_response_complete(self) -> None:
        """Stop reading requests after an early response."""
        super().on_response_complete()
        cycle = self.cycle
        if isinstance(cycle, _LongCycle) and cycle.ends_early and cycle.response_complete:
            self._close_later()

    def _may_be_long(self) -> bool:
        if self.expect_100_continue:
            return True
        if self.scope["method"] in _USUALLY_WITHOUT_BODY:  # saves time
            return False
        if self._values(b"transfer-encoding"):
            return True
        # The parser has accepted one length.
        length = self._values(b"content-length")
        return bool(length) and (len(length[0]) > _MAX_DIGITS or int(length[0]) > _MAX_IGNORED_BYTES)

    def _close_later(self) -> None:
        self._is_half_open = self._ignores_input = True
        self.cancel_keep_alive_timer()
        self.transport.write_eof()
        self.timeout_keep_alive_task = self.loop.call_later(_HALF_OPEN_S, self.transport.close)
