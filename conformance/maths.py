"""Arithmetic of address ranges and packet sizes. No input from outside, nothing kept."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Final

from harness.model.family import Family

IPV4_HEADER: Final = 20
IPV6_HEADER: Final = 40
UDP_HEADER: Final = 8
FRAGMENT_HEADER: Final = 8
TCP_HEADER: Final = 20
MIN_IPV4_MTU: Final = 576
"""What every IPv4 host must be able to receive (RFC 791 §3.2)."""

MIN_IPV6_MTU: Final = 1280
"""RFC 8200 §5."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def ip_header(family: Family) -> int:
    """Bytes of an IP header without options or extension headers."""
    return IPV4_HEADER if family == "ipv4" else IPV6_HEADER


def pair_mtu(source: int, target: int) -> int:
    """Effective MTU between two ends: the smaller of the two, in bytes."""
    return min(source, target)


def udp_payload(packet: int, *, ipv6: bool = False) -> int:
    """UDP payload of an IP packet of that size, in bytes; never negative."""
    return max(0, packet - (IPV6_HEADER if ipv6 else IPV4_HEADER) - UDP_HEADER)


def tcp_mss(mtu: int, *, ipv6: bool = False) -> int:
    """Maximum segment size that a SYN announces on a link of that MTU, in bytes (RFC 9293 §3.7.1)."""
    return mtu - (IPV6_HEADER if ipv6 else IPV4_HEADER) - TCP_HEADER


def ladder(effective: int, underlay: int, fixed: Sequence[int] = (MIN_IPV4_MTU, MIN_IPV6_MTU)) -> tuple[int, ...]:
    """Sizes of IP packets to try with DF set: small ones as controls, then the edges on both sides.

    Args:
        effective: Effective pod MTU E, bytes.
        underlay: Underlay MTU U, bytes.
        fixed: Sizes that must pass anyway; those above E are left out.
    """
    edges = {effective - 1, effective, effective + 1, underlay, underlay + 1}
    return tuple(sorted({size for size in fixed if size < effective} | {size for size in edges if size > UDP_HEADER}))


PATH_SIZES: Final = (576, 1000, 1280, 1300, 1350, 1376, 1400, 1420, 1430, 1440, 1450, 1460, 1472, 1480, 1492)
"""Sizes of IP packets that tell what is between nodes: what encapsulations and providers leave of 1500 bytes."""


def path_sizes(mtu: int, family: Family) -> tuple[int, ...]:
    """Sizes of packets to try between nodes, with DF set; the largest is what both NICs allow.

    Args:
        mtu: The smaller one of the NICs' MTUs, bytes.
        family: In IPv6 no link carries less than 1280 bytes.
    """
    least = MIN_IPV4_MTU if family == "ipv4" else MIN_IPV6_MTU
    return (*(size for size in PATH_SIZES if least <= size < mtu), mtu)


def fragments(packet: int, mtu: int) -> int:
    """How many IPv4 fragments a sender makes of a packet (RFC 791 §3.2: offsets count in eights).

    Args:
        packet: Bytes of the whole IP packet.
        mtu: Bytes of the outgoing link.
    """
    if packet <= mtu:
        return 1
    room = (mtu - IPV4_HEADER) // 8 * 8
    return -(-(packet - IPV4_HEADER) // room)


def fragments_of(packet: int, mtu: int, *, ipv6: bool) -> int:
    """How many fragments a sender makes of a packet; in IPv6 each has a fragment header of 8 bytes (RFC 8200 §4.5)."""
    if not ipv6:
        return fragments(packet, mtu)
    if packet <= mtu:
        return 1
    room = (mtu - IPV6_HEADER - FRAGMENT_HEADER) // 8 * 8
    return -(-(packet - IPV6_HEADER) // room)


def overlaps(networks: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Names of networks that share addresses, each pair once, in the order given."""
    parsed = {name: ipaddress.ip_network(text) for name, text in networks.items()}
    return tuple(
        (one, other)
        for one, other in combinations(parsed, 2)
        if parsed[one].version == parsed[other].version and parsed[one].overlaps(parsed[other])
    )


def inside(part: str, whole: str) -> bool:
    """True when all addresses of `part` (an address or a network) belong to `whole`."""
    small, large = ipaddress.ip_network(part, strict=False), ipaddress.ip_network(whole)
    if isinstance(small, ipaddress.IPv4Network) and isinstance(large, ipaddress.IPv4Network):
        return small.subnet_of(large)
    if isinstance(small, ipaddress.IPv6Network) and isinstance(large, ipaddress.IPv6Network):
        return small.subnet_of(large)
    return False


def duplicates(owners: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Addresses with more than one owner.

    Args:
        owners: Pairs of address and owner; the same pair twice is one owner.
    """
    held: dict[str, dict[str, None]] = {}
    for address, owner in owners:
        held.setdefault(address, {})[owner] = None
    return {address: tuple(names) for address, names in held.items() if len(names) > 1}


def first_host(cidr: str) -> str:
    """First host address of a network; by custom the node's bridge has it."""
    return str(ipaddress.ip_network(cidr)[1])


def base(cidr: str) -> str:
    """Base address of a network; some overlays give it to the node's tunnel device."""
    return str(ipaddress.ip_network(cidr)[0])


def split_endpoint(text: str) -> tuple[str, int]:
    """`10.0.0.1:80` and `[::1]:80` to address and port; port 0 when there is none, as in `::1`."""
    address, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or (":" in address and not address.endswith("]")):
        return text.strip("[]"), 0
    return address.strip("[]"), int(port)


def limit_name(family: Family) -> str:
    """What records call the limit of a family's neighbour table, `net.<family>.neigh.default.gc_thresh2`."""
    return "gc_thresh2" if family == "ipv4" else "gc_thresh2_ipv6"


def neighbour_entries(sites: int, nodes: int, family: Family = "ipv4") -> int:
    """Upper bound of neighbour entries that a full mesh makes in a kernel that all nodes share.

    Every pod may hold one per pod of its own bridge and its gateway; every node one per local pod, node and router. In
    IPv6 each of them may hold two: neighbours ask and answer with their link-local addresses, too (RFC 4861 §7.2).

    Args:
        sites: Pods with their own namespace, in all.
        nodes: Nodes that share the kernel.
        family: Whose table.
    """
    per_node = -(-sites // max(nodes, 1))
    return (sites * per_node + sites + nodes * (nodes + 1)) * (1 if family == "ipv4" else 2)
