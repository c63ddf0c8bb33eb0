"""What every answer tells browsers: that it is data and nothing else, which nobody keeps, frames or runs.

It stands in refusals too that no application has seen; see framing.py. What an answer says of itself, as the
documentation page does, is left as it is. Strict-Transport-Security is for whoever ends TLS before the service.
"""

from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_Header = tuple[bytes, bytes]

SECURITY_HEADERS: tuple[_Header, ...] = (
    # Tokens and personal data, or what was true at one moment: nothing that a cache may answer with.
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    # For browsers that do not know frame-ancestors.
    (b"x-frame-options", b"DENY"),
)
_NAMES = frozenset(name for name, _ in SECURITY_HEADERS)


class SecurityHeadersMiddleware:
    """Adds the headers to each answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; what begins and ends the process passes."""

        async def completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _completed(message["headers"])
            await send(message)

        await self._app(scope, receive, completed if scope["type"] == "http" else send)


def _completed(headers: Iterable[_Header]) -> list[_Header]:
    given = _NAMES.intersection([name for name, _ in headers])
    added = SECURITY_HEADERS if not given else [header for header in SECURITY_HEADERS if header[0] not in given]
    return [*headers, *added]
