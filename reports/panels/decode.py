"""A packet taken apart: every header, its bytes, its fields, and whose addresses they are."""

from __future__ import annotations

from typing import Final

from harness.model.records import Packet
from reports.addresses import Owners
from reports.model import Decoded, Fact, LayerRow, Segment

ETHERNET: Final = 14
IPV4: Final = 20
IPV6: Final = 40
UDP: Final = 8
TCP: Final = 20
ICMP: Final = 8
VXLAN: Final = 8
NUMBERS: Final = {"tcp": 6, "udp": 17, "esp": 50, "icmp6": 58}
FRAGMENT: Final = 44
"""Next headers (RFC 8200 §4)."""

ICMP_TYPES: Final = {
    "icmp": {8: "echo request", 0: "echo reply", 3: "destination unreachable", 11: "time exceeded"},
    "icmp6": {
        1: "destination unreachable", 2: "packet too big", 3: "time exceeded", 4: "parameter problem",
        128: "echo request", 129: "echo reply", 135: "neighbour solicitation", 136: "neighbour advertisement",
    },
}  # fmt: skip
"""RFC 792, RFC 4443."""

IANA_VXLAN: Final = 4789
IANA_GENEVE: Final = 6081


def decode(packet: Packet, where: str, owners: Owners) -> Decoded:
    """Headers of a packet, outermost first.

    Args:
        packet: As captured; `inner` is what a tunnel header wraps.
        where: The tap.
        owners: Names for addresses.
    """
    layers: list[LayerRow] = []
    segments: list[Segment] = []
    inner = packet.inner
    if inner is not None:
        _ethernet(packet, "outer", owners, layers, segments)
        _ip(packet, "outer", owners, layers, segments)
        _tunnel(packet, inner, layers, segments)
    body = inner or packet
    depth = "inner" if inner is not None else ""
    _ethernet(body, depth, owners, layers, segments, tunnel=inner is not None and packet.dst_port is not None)
    _ip(body, depth, owners, layers, segments)
    _transport(body, depth, layers, segments)
    used = _ip_bytes(body) + _transport_bytes(body)
    if body.length > used:
        segments.append(Segment("data", body.length - used, "payload"))
    return Decoded(
        where=where,
        segments=tuple(segments),
        layers=tuple(layers),
        overhead=packet.length - body.length,
        inner_length=body.length,
        outer_length=packet.length,
    )


def _tunnel(packet: Packet, inner: Packet, layers: list[LayerRow], segments: list[Segment]) -> None:
    """What is between two IP headers, but for the inner frame's own: nothing where IP is in IP."""
    if packet.dst_port is None:
        return
    source = f"{packet.src_port}" if packet.src_port is not None else ""
    if packet.dst_port == IANA_GENEVE:
        ethernet = ETHERNET if inner.src_mac else 0
        size = packet.length - _ip_bytes(packet) - UDP - ethernet - inner.length
        name, note = "Geneve", ""
        fields: tuple[Fact, ...] = (Fact("VNI", f"{packet.vni}", "24 bits"),)
    else:
        size, name, fields = VXLAN, "VXLAN", _vxlan(packet)
        note = "" if packet.dst_port == IANA_VXLAN else f"IANA assigned {IANA_VXLAN}; Linux and flannel use 8472"
    ports = (
        Fact("source port", source, "one per inner flow"),
        Fact("destination port", f"{packet.dst_port}", note),
    )
    layers += [LayerRow("tunnel", "UDP", UDP, ports), LayerRow("tunnel", name, size, fields)]
    segments += [Segment("UDP", UDP, "tunnel"), Segment(name, size, "tunnel")]


def _vxlan(packet: Packet) -> tuple[Fact, ...]:
    flags = f"0x{packet.vxlan_flags:02x}" if packet.vxlan_flags is not None else "0x08"
    return (Fact("flags", flags, "I: the VNI is valid"), Fact("VNI", f"{packet.vni}", "24 bits"))


def _ethernet(
    packet: Packet,
    layer: str,
    owners: Owners,
    layers: list[LayerRow],
    segments: list[Segment],
    *,
    tunnel: bool = False,
) -> None:
    """The Ethernet header; inside a tunnel it is part of what the tunnel costs."""
    if not packet.src_mac and not tunnel:
        return
    fields = (
        Fact("source", packet.src_mac, owners.mac(packet.src_mac)),
        Fact("destination", packet.dst_mac, owners.mac(packet.dst_mac)),
    )
    layers.append(LayerRow(layer, "Ethernet", ETHERNET, fields))
    segments.append(Segment("Ethernet", ETHERNET, "tunnel" if tunnel else "outer" if layer == "outer" else "inner"))


def _ip_bytes(packet: Packet) -> int:
    return IPV6 if ":" in packet.src else IPV4


def _ip(packet: Packet, layer: str, owners: Owners, layers: list[LayerRow], segments: list[Segment]) -> None:
    name = "IPv6" if ":" in packet.src else "IPv4"
    size = _ip_bytes(packet)
    fields: tuple[Fact, ...] = (
        Fact("source", packet.src, owners.ip(packet.src)),
        Fact("destination", packet.dst, owners.ip(packet.dst)),
        *(_of_ipv6(packet) if size == IPV6 else _of_ipv4(packet)),
    )
    layers.append(LayerRow(layer, name, size, fields))
    segments.append(Segment(name, size, "tunnel" if layer == "outer" else "inner"))


def _of_ipv4(packet: Packet) -> tuple[Fact, ...]:
    return (
        Fact("TTL", str(packet.ttl)),
        Fact("length", f"{packet.length} bytes"),
        Fact("flags", "don't fragment" if packet.df else "none", "may be fragmented" if not packet.df else ""),
        Fact("id", str(packet.ip_id)),
    )


def _of_ipv6(packet: Packet) -> tuple[Fact, ...]:
    """RFC 8200 §3: what IPv4 has for fragments is an extension header here, and routers never fragment."""
    pieces = packet.more_fragments or packet.fragment_offset
    number = FRAGMENT if pieces else NUMBERS.get(packet.proto)
    following = "Fragment" if pieces else _shown(packet.proto)
    label = (Fact("flow label", f"0x{packet.flow_label:05x}", "one per flow"),) if packet.flow_label is not None else ()
    return (
        Fact("hop limit", str(packet.ttl)),
        Fact("payload length", f"{packet.length - IPV6} bytes", "without this header"),
        Fact("next header", following if number is None else f"{number}", "" if number is None else following),
        *label,
    )


def _shown(proto: str) -> str:
    return "ICMPv6" if proto == "icmp6" else proto.upper()


def _transport_bytes(packet: Packet) -> int:
    return {"icmp": ICMP, "icmp6": ICMP, "udp": UDP, "tcp": TCP}.get(packet.proto, 0)


def _transport(packet: Packet, layer: str, layers: list[LayerRow], segments: list[Segment]) -> None:
    size = _transport_bytes(packet)
    if not size:
        return
    fields: tuple[Fact, ...]
    if packet.proto in ICMP_TYPES:
        names = ICMP_TYPES[packet.proto]
        kind = packet.icmp_type if packet.icmp_type is not None else -1
        about = Fact("sequence", f"{packet.icmp_seq}")
        if packet.nd_target:
            about = Fact("target", packet.nd_target, packet.nd_mac)
        fields = (
            Fact("type", f"{packet.icmp_type} / {packet.icmp_code}", names.get(kind, "")),
            about,
        )
    else:
        fields = (
            Fact("source port", f"{packet.src_port}"),
            Fact("destination port", f"{packet.dst_port}"),
        )
        if packet.tcp_flags:
            fields += (Fact("flags", packet.tcp_flags),)
    layers.append(LayerRow(layer, _shown(packet.proto), size, fields))
    segments.append(Segment(_shown(packet.proto), size, "inner"))
