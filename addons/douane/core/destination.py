"""Which network addresses no agent reaches through the proxy, whatever name they hide behind."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv6Address

type Address = IPv4Address | IPv6Address

METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "100.100.100.200",
        "fd00:ec2::254",
        "168.63.129.16",
    )
)
"""Instance metadata services of AWS, GCP, Azure and Alibaba; never listed by a policy."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def plain(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one (mapped, 6to4, Teredo, NAT64), else the address itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address.teredo is not None:
            return address.teredo[1]
        if address in _NAT64 or (int(address) >> 32 == 0 and int(address) > 1):
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def never_reached(address: Address) -> str | None:
    """Why an address is refused under every policy, or None: metadata, link-local, multicast, unspecified, reserved."""
    address = plain(address)
    if address in METADATA:
        return "an instance metadata service"
    if address.is_link_local:
        return "a link-local address"
    if address.is_multicast:
        return "a multicast address"
    if address.is_unspecified or (isinstance(address, IPv4Address) and int(address) >> 24 == 0):
        return "an unspecified address"
    if address.is_reserved and not address.is_private:
        return "a reserved address"
    return None


def is_private(address: Address) -> bool:
    """Whether an address needs to be listed in the policy: loopback, private, shared (RFC 6598) and the like."""
    return not plain(address).is_global
