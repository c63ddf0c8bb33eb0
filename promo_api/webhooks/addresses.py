"""The addresses that webhooks may reach, and a resolver that returns no others.

A company chooses the URL, so without these rules it could reach the network of the service (SSRF).
"""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from threading import Thread

from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult

from promo_api.config.values import Network

Address = IPv4Address | IPv6Address

# Not public, and unknown to the module ipaddress of some versions of Python: protocol assignments, where clouds have
# metadata services, the metadata service of Azure, relays of 6to4, and examples.
_SPECIAL = tuple(map(ip_network, ("192.0.0.0/24", "168.63.129.16/32", "192.88.99.0/24", "2001::/23", "3fff::/20")))
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_IPV4_MASK = 0xFFFFFFFF


class ForbiddenAddress(OSError):
    """A webhook may not reach this address. aiohttp reports it as the cause of a failed connection."""


def is_allowed(address: Address, networks: Sequence[Network]) -> bool:
    """Return whether webhooks may reach an address: a public one, or one in `networks`."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks) or _is_public(address)


def check_literal(host: str, networks: Sequence[Network]) -> None:
    """Raise ForbiddenAddress unless the text is an allowed address, not shortened and without a port."""
    try:
        is_valid = is_allowed(ip_address(host), networks)
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ForbiddenAddress("forbidden address")


class CheckedResolver(AbstractResolver):
    """Resolves names to allowed addresses.

    One forbidden address refuses the whole name. A public name does not resolve to private addresses too, unless
    someone tries to reach them.

    Each lookup has its own thread: a name server that does not respond would block all threads of a pool, and a daemon
    thread does not delay the end of the process.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name, or raise ForbiddenAddress."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[ResolveResult]] = loop.create_future()

        def look_up() -> None:
            with suppress(RuntimeError):  # the loop is closed
                try:
                    results = _resolve(host, port, family)
                except (OSError, ValueError) as error:
                    loop.call_soon_threadsafe(_end, found, None, error)
                else:
                    loop.call_soon_threadsafe(_end, found, results, None)

        Thread(target=look_up, name="webhooks-resolver", daemon=True).start()
        results = await found
        for result in results:
            check_literal(result["host"], self._networks)
        return results

    async def close(self) -> None:
        """Do nothing: lookups cannot be cancelled."""


def _resolve(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return [
        ResolveResult(hostname=host, host=str(address[0]), port=port, family=each, proto=protocol, flags=flags)
        for each, _, protocol, _, address in socket.getaddrinfo(
            host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
    ]


def _end(
    found: "asyncio.Future[list[ResolveResult]]", results: list[ResolveResult] | None, error: Exception | None
) -> None:
    if found.cancelled():
        return
    if results is None:
        found.set_exception(error or OSError("no address"))
    else:
        found.set_result(results)


class CheckedSockets:
    """Creates sockets for allowed addresses only: also for those in URLs, which no resolver sees."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks

    def __call__(self, info: AddrInfoType) -> socket.socket:
        """Return a socket to connect to an address, or raise ForbiddenAddress."""
        family, kind, protocol, _, address = info
        check_literal(str(address[0]), self._networks)
        return socket.socket(family, kind, protocol)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address in _NAT64:
        return _is_public(IPv4Address(int(address) & _IPV4_MASK))
    if not address.is_global or address.is_multicast or any(address in network for network in _SPECIAL):
        return False
    if isinstance(address, IPv4Address):
        return not address.is_reserved
    # 6to4 contains an IPv4 address, and no receiver needs it.
    return address in _GLOBAL_UNICAST and address.sixtofour is None
