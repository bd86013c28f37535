"""The outside world that a lab's router plays: fixed addresses, so that workshop texts can name them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Final

PUBLIC: Final = IPv4Interface("8.8.8.8/32")
"""A public address, owned by the router: answers ICMP, HTTP and the responder."""

NEIGHBOUR: Final = IPv4Interface("172.31.1.20/32")
"""The router's address in a neighbouring subnet."""

LOOPBACKS: Final = (IPv4Interface("10.10.1.200/24"), IPv4Interface("10.10.2.200/24"))
"""Web servers behind the router's loopbacks."""

FAR_LINK: Final = IPv4Network("198.51.100.0/24")
"""The link beyond the router (TEST-NET-2, RFC 5737); its MTU is smaller, for path MTU discovery."""

FAR_ROUTER: Final = IPv4Address("198.51.100.1")
FAR_HOST: Final = IPv4Address("198.51.100.10")
FAR_MTU: Final = 1300
"""Bytes; below every pod MTU of the catalogue."""

ZONE: Final = "outside.test"
"""The zone that the router's name server is authoritative for (RFC 6761 reserves .test)."""

RESPONDER_PORT: Final = 8080
WEB_PORT: Final = 80
DNS_PORT: Final = 53
LOG: Final = "/var/log/cnilab/world.jsonl"
"""On the router: one JSON object for everything that reached it (`responder world --log`)."""
