"""The client address, from the connection or a trusted proxy."""

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

_IPV6_PREFIX = 64


def client_address(scope: Scope) -> str:
    """Return the address; "" if it is unknown."""
    client = scope.get("client")
    return client[0] if client else ""


@lru_cache(1024)
def client_network(address: str) -> str:
    """Return the /64 of an IPv6 address, because a customer gets a whole /64; else the text."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or IPv6Network((int(parsed), _IPV6_PREFIX), strict=False))


class ClientAddressMiddleware:
    """Takes the last address of a proxy's header, because the client may have sent the others.

    A client that bypasses the proxy can forge it.
    """

    def __init__(self, app: ASGIApp, header: str) -> None:
        self._app = app
        self._header = header.lower().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Replace `client` of the scope."""
        if scope["type"] == "http":
            values = [value for name, value in scope["headers"] if name == self._header]
            address = values[-1].rpartition(b",")[2].strip().decode("latin-1") if values else ""
            if _is_address(address):
                scope["client"] = (address, 0)
        await self._app(scope, receive, send)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
