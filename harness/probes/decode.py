"""From frames to packets: Ethernet, ARP, IPv4, IPv6, ICMP, UDP, TCP; VXLAN, Geneve and IP in IP with what is inside.

Pure functions.

Whatever is cut off or malformed ends the decoding of that packet at what could be read last: a whole header, or ports
and flags of one that is cut off. Nothing raises.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

from harness.model.records import Packet
from harness.probes import icmp6, pcap
from harness.probes.pcap import Frame

VXLAN_PORTS: Final = frozenset({4789, 6784, 8472})
"""IANA's port (RFC 7348), weave's, and that of the Linux kernel, which flannel uses."""

GENEVE_PORT: Final = 6081
"""IANA's port (RFC 8926 §3.3)."""

CANARY_TYPE: Final = 0x88B5
"""EtherType of the marked frames of `responder canary` (IEEE 802, local experimental)."""

ETHERNET_HEADER: Final = 14
_IPV4, _IPV6, _ARP, _BRIDGED = 0x0800, 0x86DD, 0x0806, 0x6558
_VLANS: Final = (0x8100, 0x88A8)
_ICMP, _TCP, _UDP, _ICMP6, _SCTP = 1, 6, 17, 58, 132
_NAMES: Final = {_ICMP: "icmp", _TCP: "tcp", _UDP: "udp", _ICMP6: "icmp6", _SCTP: "sctp", 50: "esp", 4: "ipip"}
_IN_IP: Final = {4: _IPV4, 41: _IPV6}
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _OPTIONS, _NOTHING = 0, 43, 44, 60, 59
_TCP_FLAGS: Final = "FSRPAUEC"

Fields = dict[str, Any]


def packets(
    frames: Iterable[Frame], *, start_us: int = 0, vxlan_ports: frozenset[int] = VXLAN_PORTS
) -> tuple[Packet, ...]:
    """All packets that can be named; marked frames and foreign EtherTypes are left out.

    Args:
        frames: Of one capture.
        start_us: What `t_us` of the packets counts from, in microseconds since the epoch.
        vxlan_ports: UDP destination ports whose payload is VXLAN.
    """
    decoded = (packet(frame, start_us=start_us, vxlan_ports=vxlan_ports) for frame in frames)
    return tuple(one for one in decoded if one is not None)


def packet(frame: Frame, *, start_us: int = 0, vxlan_ports: frozenset[int] = VXLAN_PORTS) -> Packet | None:
    """The packet in a frame; None when it is neither IP nor ARP."""
    fields = _link(frame.link, frame.data, vxlan_ports)
    if fields is None:
        return None
    return Packet(t_us=frame.t_us - start_us, frame=frame.length, **fields)


def canary(frame: Frame) -> str | None:
    """The mark of a marked frame; None for any other frame."""
    if frame.link != pcap.ETHERNET or len(frame.data) < ETHERNET_HEADER:
        return None
    if int.from_bytes(frame.data[12:14]) != CANARY_TYPE:
        return None
    return frame.data[ETHERNET_HEADER:].split(b"\0", 1)[0].decode(errors="replace")


def _link(link: int, data: bytes, vxlan_ports: frozenset[int]) -> Fields | None:
    """Strip the link header."""
    if link == pcap.RAW_IP and data:
        return _network(_IPV6 if data[0] >> 4 == 6 else _IPV4, data, vxlan_ports)
    if link == pcap.LINUX_SLL and len(data) >= 16:
        return _network(int.from_bytes(data[14:16]), data[16:], vxlan_ports)
    if link == pcap.LINUX_SLL2 and len(data) >= 20:
        return _network(int.from_bytes(data[0:2]), data[20:], vxlan_ports)
    if link != pcap.ETHERNET or len(data) < ETHERNET_HEADER:
        return None
    kind, body = int.from_bytes(data[12:14]), data[ETHERNET_HEADER:]
    while kind in _VLANS and len(body) >= 4:
        kind, body = int.from_bytes(body[2:4]), body[4:]
    fields = _network(kind, body, vxlan_ports)
    if fields is not None:
        fields |= {"dst_mac": data[0:6].hex(":"), "src_mac": data[6:12].hex(":")}
    return fields


def _network(kind: int, data: bytes, vxlan_ports: frozenset[int]) -> Fields | None:
    if kind == _IPV4:
        return _ipv4(data, vxlan_ports)
    if kind == _IPV6:
        return _ipv6(data, vxlan_ports)
    if kind == _ARP:
        return _arp(data)
    return None


def _arp(data: bytes) -> Fields | None:
    """ARP for IPv4 over Ethernet (RFC 826): sender and target are source and destination."""
    if len(data) < 28 or data[:6] != b"\x00\x01\x08\x00\x06\x04":
        return None
    return {
        "proto": "arp",
        "src": str(IPv4Address(data[14:18])),
        "dst": str(IPv4Address(data[24:28])),
        "arp_op": int.from_bytes(data[6:8]),
        "length": 28,
        "ttl": 0,
    }


def _ipv4(data: bytes, vxlan_ports: frozenset[int]) -> Fields | None:
    """RFC 791 §3.1."""
    if len(data) < 20 or data[0] >> 4 != 4:
        return None
    total, ip_id, fragment = struct.unpack_from("!HHH", data, 2)
    number = data[9]
    fields: Fields = {
        "src": str(IPv4Address(data[12:16])),
        "dst": str(IPv4Address(data[16:20])),
        "proto": _NAMES.get(number, str(number)),
        "length": total or len(data),  # 0 in segments that the NIC will cut (GSO)
        "ttl": data[8],
        "ip_id": ip_id,
        "df": bool(fragment & 0x4000),
        "more_fragments": bool(fragment & 0x2000),
        "fragment_offset": (fragment & 0x1FFF) * 8,
    }
    if fields["fragment_offset"] == 0:
        fields |= _transport(number, data[(data[0] & 15) * 4 : total or len(data)], vxlan_ports)
    return fields


def _ipv6(data: bytes, vxlan_ports: frozenset[int]) -> Fields | None:
    """RFC 8200 §3 and §4: extension headers, then what the last of them says comes next."""
    if len(data) < 40 or data[0] >> 4 != 6:
        return None
    length, number, hops = int.from_bytes(data[4:6]), data[6], data[7]
    if not length and number != _NOTHING:
        length = len(data) - 40  # 0 in segments that the NIC will cut (GSO)
    fields: Fields = {
        "src": str(IPv6Address(data[8:24])),
        "dst": str(IPv6Address(data[24:40])),
        "length": 40 + length,
        "ttl": hops,
        "flow_label": int.from_bytes(data[1:4]) & 0xFFFFF,
        "df": True,  # routers never fragment IPv6
    }
    body = data[40 : 40 + length]
    while number in (_HOP_BY_HOP, _ROUTING, _OPTIONS, _FRAGMENT) and len(body) >= 2:
        number, kind, size = body[0], number, 8 + body[1] * 8
        if kind == _FRAGMENT and len(body) >= 8:
            offset, size = int.from_bytes(body[2:4]), 8
            fields |= {"more_fragments": bool(offset & 1), "fragment_offset": offset & 0xFFF8}
            fields["ip_id"] = int.from_bytes(body[4:8])
            if fields["fragment_offset"]:
                break
        body = body[size:]
    fields["proto"] = _NAMES.get(number, str(number))
    if not fields.get("fragment_offset"):
        fields |= _transport(number, body, vxlan_ports)
    return fields


def _transport(number: int, data: bytes, vxlan_ports: frozenset[int]) -> Fields:
    if number == _ICMP:
        return _icmp(data)
    if number == _ICMP6:
        return icmp6.message(data)
    if number == _UDP:
        return _udp(data, vxlan_ports)
    if number == _TCP:
        return _tcp(data)
    if number == _SCTP:
        return _ports(data)
    inner = _network(_IN_IP[number], data, vxlan_ports) if number in _IN_IP else None
    return {} if inner is None else {"inner": Packet(t_us=0, frame=len(data), **inner)}


def _ports(data: bytes) -> Fields:
    if len(data) < 4:
        return {}
    src_port, dst_port = struct.unpack_from("!HH", data)
    return {"src_port": src_port, "dst_port": dst_port}


def _icmp(data: bytes) -> Fields:
    """RFC 792: echo has id and sequence, "too big" has the MTU of the next hop (RFC 1191 §4).

    Args:
        data: Less than a whole header says nothing.
    """
    if len(data) < 8:
        return {}
    kind, code = data[0], data[1]
    fields: Fields = {"icmp_type": kind, "icmp_code": code}
    if kind in (0, 8):
        fields["icmp_id"], fields["icmp_seq"] = struct.unpack_from("!HH", data, 4)
    elif (kind, code) == (3, 4):
        fields["icmp_mtu"] = int.from_bytes(data[6:8])
    return fields


def _udp(data: bytes, vxlan_ports: frozenset[int]) -> Fields:
    fields = _ports(data)
    if fields.get("dst_port") in vxlan_ports:
        fields |= _vxlan(data[8:], vxlan_ports)
    elif fields.get("dst_port") == GENEVE_PORT:
        fields |= _geneve(data[8:], vxlan_ports)
    return fields


def _vxlan(data: bytes, vxlan_ports: frozenset[int]) -> Fields:
    """RFC 7348 §5: flags, VNI, then a whole Ethernet frame."""
    fields: Fields = {}
    if len(data) >= 2:
        fields["vxlan_flags"] = data[0]
    if len(data) >= 7:
        fields["vni"] = int.from_bytes(data[4:7])
    inner = _link(pcap.ETHERNET, data[8:], vxlan_ports)
    if inner is not None:
        fields["inner"] = Packet(t_us=0, frame=len(data) - 8, **inner)
    return fields


def _geneve(data: bytes, vxlan_ports: frozenset[int]) -> Fields:
    """RFC 8926 §3.4: version, length of the options, type of the payload, VNI; the payload is a frame, or a packet."""
    if len(data) < 8 or data[0] >> 6 or data[7]:
        return {}
    kind, body = int.from_bytes(data[2:4]), data[8 + (data[0] & 63) * 4 :]
    inner = _link(pcap.ETHERNET, body, vxlan_ports) if kind == _BRIDGED else _network(kind, body, vxlan_ports)
    if inner is None:
        return {}
    return {"vni": int.from_bytes(data[4:7]), "inner": Packet(t_us=0, frame=len(body), **inner)}


def _tcp(data: bytes) -> Fields:
    """RFC 9293 §3.1; of the options the MSS (§3.7.1). Flags are letters: S, SA, A, PA, FA, R, RA."""
    fields = _ports(data)
    if len(data) < 16:  # with the window, after the flags
        return fields
    fields["tcp_flags"] = "".join(letter for bit, letter in enumerate(_TCP_FLAGS) if data[13] & 1 << bit)
    mss = _mss(data[20 : (data[12] >> 4) * 4])
    if mss is not None:
        fields["tcp_mss"] = mss
    return fields


def _mss(options: bytes) -> int | None:
    at = 0
    while at < len(options) and options[at] != 0:
        if options[at] == 1:
            at += 1
            continue
        if at + 1 >= len(options) or options[at + 1] < 2:
            return None
        if options[at] == 2 and at + 4 <= len(options):
            return int.from_bytes(options[at + 2 : at + 4])
        at += options[at + 1]
    return None
