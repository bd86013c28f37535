"""The outside world that a lab's router plays: fixed addresses, so that workshop texts can name them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Final

from harness.model.family import Address, Family, Range

Interface = IPv4Interface | IPv6Interface

PUBLIC: Final = IPv4Interface("8.8.8.8/32")
"""A public address, owned by the router: answers ICMP, HTTP and the responder."""

NEIGHBOUR: Final = IPv4Interface("172.31.1.20/32")
"""The router's address in a neighbouring subnet."""

LOOPBACKS: Final = (IPv4Interface("10.10.1.200/24"), IPv4Interface("10.10.2.200/24"))
"""Web servers behind the router's loopbacks."""

PUBLIC6: Final = IPv6Interface("2001:4860:4860::8888/128")
"""The public address in IPv6."""

NEIGHBOUR6: Final = IPv6Interface("2001:db8:31:1::20/128")
LOOPBACKS6: Final = (IPv6Interface("2001:db8:10:1::200/64"), IPv6Interface("2001:db8:10:2::200/64"))
"""The same places in IPv6: a documentation range (RFC 3849)."""

FAR_LINK: Final = IPv4Network("198.51.100.0/24")
"""The link beyond the router (TEST-NET-2, RFC 5737); its MTU is smaller, for path MTU discovery."""

FAR_ROUTER: Final = IPv4Address("198.51.100.1")
FAR_HOST: Final = IPv4Address("198.51.100.10")
FAR_LINK6: Final = IPv6Network("2001:db8:100::/64")
FAR_ROUTER6: Final = IPv6Address("2001:db8:100::1")
FAR_HOST6: Final = IPv6Address("2001:db8:100::10")
FAR_MTU: Final = 1300
"""Bytes; below every pod MTU of the catalogue, and above the least that IPv6 works with, 1280."""

ZONE: Final = "outside.test"
"""The zone that the router's name server is authoritative for (RFC 6761 reserves .test)."""

RESPONDER_PORT: Final = 8080
WEB_PORT: Final = 80
DNS_PORT: Final = 53
LOG: Final = "/var/log/cnilab/world.jsonl"
"""On the router: one JSON object for everything that reached it (`responder world --log`)."""


def public(family: Family) -> Address:
    """The router's public address."""
    return (PUBLIC if family == "ipv4" else PUBLIC6).ip


def neighbour(family: Family) -> Address:
    """The router's address in a neighbouring subnet."""
    return (NEIGHBOUR if family == "ipv4" else NEIGHBOUR6).ip


def addresses(family: Family) -> tuple[Interface, ...]:
    """All addresses of the networks that the router has behind it."""
    return (PUBLIC, NEIGHBOUR, *LOOPBACKS) if family == "ipv4" else (PUBLIC6, NEIGHBOUR6, *LOOPBACKS6)


def far_link(family: Family) -> Range:
    """The link beyond the router."""
    return FAR_LINK if family == "ipv4" else FAR_LINK6


def far_router(family: Family) -> Address:
    """The router's address on the link beyond it."""
    return FAR_ROUTER if family == "ipv4" else FAR_ROUTER6


def far_host(family: Family) -> Address:
    """The far host's address."""
    return FAR_HOST if family == "ipv4" else FAR_HOST6
