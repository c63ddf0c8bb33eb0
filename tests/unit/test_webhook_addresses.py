"""The addresses that webhooks may reach."""

from ipaddress import ip_address, ip_network

import pytest

from promo_api.webhooks.addresses import ForbiddenAddress, check_literal, is_allowed
from tests.cases import all_cases

_FORBIDDEN = (
    "0.0.0.1", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254",
    "168.63.129.16", "169.254.0.1", "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255",
    "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "233.252.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::10.0.0.1", "64:ff9b:1::1", "100::1",
    "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1",
    "3fff::1", "4000::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
    "ff0e::1",
)  # fmt: skip
_PUBLIC = ("1.1.1.1", "8.8.8.8", "172.32.0.1", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::808:808")


@all_cases("text", _FORBIDDEN)
def test_forbidden(text: str) -> None:
    """Private, local, special and multicast addresses are forbidden, also inside an IPv6 address."""
    assert not is_allowed(ip_address(text), ())


@all_cases("text", _PUBLIC)
def test_public(text: str) -> None:
    """Public addresses are allowed, also mapped to IPv6 and translated by NAT64."""
    assert is_allowed(ip_address(text), ())


def test_allowed_networks() -> None:
    """An address in a listed network is allowed, in IPv6 too, and its neighbours are not."""
    networks = (ip_network("10.1.0.0/16"), ip_network("fd00::/64"))
    assert all(is_allowed(ip_address(text), networks) for text in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::5", "8.8.8.8"))
    assert not any(is_allowed(ip_address(text), networks) for text in ("10.2.0.1", "fd00:1::5", "64:ff9b::a01:203"))


@all_cases(
    "text", ["0x7f.1", "2130706433", "127.1", "0177.0.0.1", "127.0.0.1.", "[::1]", "", "localhost", "\uff18.8.8.8"]
)
def test_unusual_spellings(text: str) -> None:
    """A spelling that only some programs read as an address is forbidden, also if all networks are allowed."""
    with pytest.raises(ForbiddenAddress):
        check_literal(text, (ip_network("0.0.0.0/0"), ip_network("::/0")))
