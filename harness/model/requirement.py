"""Words for requirements that the suite, its records and the report share: areas and levels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

Level = Literal["M", "S", "R"]

LEVELS: Final[Mapping[Level, str]] = {"M": "MUST", "S": "SHOULD", "R": "RECORD"}
"""What a level is called: it must hold, it should hold (RFC 2119), it is only recorded."""

Area = Literal[
    "nodes", "identity", "ipam", "reach", "nat", "mtu", "services", "dns", "egress", "dual", "policy", "cni", "robust"
]

AREAS: Final[Mapping[Area, str]] = {
    "nodes": "State of nodes",
    "identity": "Addresses of pods",
    "ipam": "Address management",
    "reach": "Reachability",
    "nat": "No NAT between pods",
    "mtu": "MTU and packet size",
    "services": "Services",
    "dns": "DNS",
    "egress": "Leaving the cluster",
    "dual": "IPv6 and dual stack",
    "policy": "NetworkPolicy",
    "cni": "CNI contract",
    "robust": "Disturbances",
}
"""What an area is about, in the order of the catalogue."""
