"""Client addresses, as limits count them."""

from ipaddress import IPv6Address, IPv6Network, ip_address

# A provider gives each customer one network of this size, for all devices.
_IPV6_PREFIX = 64


def client_network(address: str) -> str:
    """Return the network that counts as one client: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or IPv6Network((int(parsed), _IPV6_PREFIX), strict=False))
