"""Headers for browsers. Strict-Transport-Security is the task of the proxy that ends TLS."""

from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_Header = tuple[bytes, bytes]

SECURITY_HEADERS: tuple[_Header, ...] = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    # For browsers without frame-ancestors.
    (b"x-frame-options", b"DENY"),
)
_NAMES = frozenset(name for name, _ in SECURITY_HEADERS)


class SecurityHeadersMiddleware:
    """Adds missing headers to each response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers."""

        async def send_complete(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _complete(message["headers"])
            await send(message)

        await self._app(scope, receive, send_complete if scope["type"] == "http" else send)


def _complete(headers: Iterable[_Header]) -> list[_Header]:
    present = _NAMES.intersection([name for name, _ in headers])
    added = SECURITY_HEADERS if not present else [header for header in SECURITY_HEADERS if header[0] not in present]
    return [*headers, *added]
