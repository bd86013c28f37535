"""IP families: their names, and how an address is written where a port follows it. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, Literal, get_args

Family = Literal["ipv4", "ipv6"]
"""Names as Kubernetes has them, in small letters (core/v1 IPFamily)."""

FAMILIES: Final[tuple[Family, ...]] = get_args(Family)

IpFamily = Literal["ipv4", "ipv6", "dual"]
"""What a cluster has: one family, or both (KEP-563)."""

Address = IPv4Address | IPv6Address
Range = IPv4Network | IPv6Network

Transport = Literal["tcp", "udp", "icmp"]
Proto = Literal["tcp", "udp", "icmp", "tcp6", "udp6", "icmp6"]
"""A transport and the family below it, as netstat(8) names them: `tcp6` is TCP over IPv6."""

VERSION: Final[dict[Family, int]] = {"ipv4": 4, "ipv6": 6}
TITLE: Final[dict[Family, str]] = {"ipv4": "IPv4", "ipv6": "IPv6"}
"""As sentences and Kubernetes' objects have them."""

ENCAPSULATED_IPV6: Final = 20
"""Bytes by which a tunnel over IPv6 costs more than the same tunnel over IPv4: 40 of a header, not 20 (RFC 8200 §3)."""


def listed(families: Sequence[Family]) -> str:
    """Families for people, the primary one first: `IPv4`, `IPv6 and IPv4`."""
    return " and ".join(TITLE[family] for family in families)


def other(family: Family) -> Family:
    """The other family."""
    return "ipv6" if family == "ipv4" else "ipv4"


def family_of(address: str | Address | Range) -> Family:
    """Family of an address or a range.

    Args:
        address: Text may have a prefix length.

    Raises:
        ValueError: It is neither.
    """
    parsed = ipaddress.ip_interface(address) if isinstance(address, str) else address
    return "ipv4" if parsed.version == VERSION["ipv4"] else "ipv6"


def host_of(address: str | Address) -> str:
    """An address as the host of a URL: `[fd00::1]` for IPv6 (RFC 3986 §3.2.2)."""
    text = str(address)
    return f"[{text}]" if ":" in text else text


def endpoint(address: str | Address, port: int) -> str:
    """`10.0.0.1:80`, `[fd00::1]:80`."""
    return f"{host_of(address)}:{port}"


def over(transport: Transport | str, family: Family) -> Proto:
    """A transport over a family: `tcp6` of `tcp` and `ipv6`."""
    return f"{transport}6" if family == "ipv6" else transport  # type: ignore[return-value]


def transport_of(proto: Proto | str) -> Transport:
    """The transport alone: `tcp` of `tcp6`."""
    return proto.removesuffix("6")  # type: ignore[return-value]


def family_of_proto(proto: Proto | str) -> Family:
    """The family below a transport."""
    return "ipv6" if proto.endswith("6") else "ipv4"


def family_of_dial(dial: str) -> Family:
    """Family of what was dialled: an address, with or without a port."""
    return "ipv6" if dial.count(":") > 1 else "ipv4"


def record_type(family: Family) -> str:
    """Type of a name's addresses in DNS (RFC 1035 §3.4.1, RFC 3596 §2.1)."""
    return "A" if family == "ipv4" else "AAAA"
