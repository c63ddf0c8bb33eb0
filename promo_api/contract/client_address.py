"""Where a request comes from: the other end of its connection, or what a trusted proxy says.

An operation that must know has `x-client-address: true` in the contract; its function gets `client_address`, a text.
"""

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

_IPV6_PREFIX = 64


def client_address(scope: Scope) -> str:
    """Return the address that a request comes from; "" if the server does not know."""
    client = scope.get("client")
    return client[0] if client else ""


@lru_cache(1024)
def client_network(address: str) -> str:
    """Return what counts as one client: an address of IPv4, or the /64 network of one of IPv6, which is one customer's.

    A text that is no IP address is returned as it is.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or IPv6Network((int(parsed), _IPV6_PREFIX), strict=False))


class ClientAddressMiddleware:
    """Believes a header that a proxy sets, or appends to, about where requests come from.

    The last one of the addresses in the last such header counts: whatever stands before it the client may have written.
    Without the header, or if that is no IP address, the request comes from the proxy.

    Args:
        app: what answers.
        header: its name. Whoever reaches the service without passing the proxy can claim to be anybody.
    """

    def __init__(self, app: ASGIApp, header: str) -> None:
        self._app = app
        self._header = header.lower().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; what begins and ends the process passes."""
        if scope["type"] == "http":
            told = [value for name, value in scope["headers"] if name == self._header]
            address = told[-1].rpartition(b",")[2].strip().decode("latin-1") if told else ""
            if _is_address(address):
                scope["client"] = (address, 0)
        await self._app(scope, receive, send)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
