"""What tshark says of a capture, and the same in the decoder's words."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

PROGRAM: Final = shutil.which("tshark")

FIELDS: Final = (
    "frame.protocols", "frame.len", "frame.time_epoch",
    "eth.src", "eth.dst",
    "arp.opcode", "arp.src.proto_ipv4", "arp.dst.proto_ipv4",
    "ip.src", "ip.dst", "ip.proto", "ip.len", "ip.ttl", "ip.id", "ip.flags.df", "ip.flags.mf", "ip.frag_offset",
    "ipv6.src", "ipv6.dst", "ipv6.nxt", "ipv6.plen", "ipv6.hlim", "ipv6.hopopts.nxt", "ipv6.dstopts.nxt",
    "ipv6.routing.nxt", "ipv6.fraghdr.nxt", "ipv6.fraghdr.offset", "ipv6.fraghdr.more", "ipv6.fraghdr.ident",
    "udp.srcport", "udp.dstport", "sctp.srcport", "sctp.dstport",
    "tcp.srcport", "tcp.dstport", "tcp.flags", "tcp.options.mss_val",
    "icmp.type", "icmp.code", "icmp.ident", "icmp.seq", "icmp.mtu",
    "icmpv6.type", "icmpv6.code", "icmpv6.echo.identifier", "icmpv6.echo.sequence_number", "icmpv6.mtu",
    "icmpv6.nd.ns.target_address", "icmpv6.nd.na.target_address", "icmpv6.nd.na.flag.r", "icmpv6.nd.na.flag.s",
    "icmpv6.nd.na.flag.o", "icmpv6.nd.ra.flag.m", "icmpv6.nd.ra.flag.o", "icmpv6.nd.ra.router_lifetime",
    "icmpv6.opt.linkaddr", "icmpv6.opt.prefix", "icmpv6.opt.prefix.length",
    "icmpv6.opt.mtu", "icmpv6.mld.multicast_address", "icmpv6.mldr.mar.multicast_address",
    "vxlan.flags", "vxlan.vni", "geneve.vni",
)  # fmt: skip

_OPTIONS: Final = (
    # Every fragment by itself; ports of VXLAN that are not IANA's.
    "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE", "-o", "ipv6.tso_support:TRUE",
    "-d", "udp.port==8472,vxlan", "-d", "udp.port==6784,vxlan",
)  # fmt: skip

_EXTENSIONS: Final = ("ipv6.hopopts", "ipv6.dstopts", "ipv6.routing", "ipv6.fraghdr")
_LINKS: Final = {"ethertype", "vlan", "ieee8021ad", "sll", "raw"}
_ECHO: Final = {"icmp": (0, 8), "icmpv6": (128, 129)}
_FLAGS: Final = (("na", "R"), ("na", "S"), ("na", "O"), ("ra", "M"), ("ra", "O"))
_NAMES: Final = {1: "icmp", 4: "ipip", 6: "tcp", 17: "udp", 50: "esp", 58: "icmp6", 132: "sctp"}


def dissect(capture: Path) -> list[dict[str, list[str]]]:
    """Values of the fields, packet by packet, as tshark prints them: each as often as it is in the packet."""
    chosen = [word for field in FIELDS for word in ("-e", field)]
    with tempfile.TemporaryDirectory() as settings:
        done = subprocess.run(
            (str(PROGRAM), "-n", "-r", str(capture), *_OPTIONS, "-T", "json", *chosen),
            # Nobody's own preferences.
            env={**os.environ, "WIRESHARK_CONFIG_DIR": settings, "XDG_CONFIG_HOME": settings, "LC_ALL": "C"},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    return [packet["_source"]["layers"] for packet in json.loads(done.stdout)]


def as_text(packets: list[dict[str, list[str]]]) -> str:
    """As it is stored: one packet a line."""
    return "[\n" + ",\n".join(json.dumps(packet) for packet in packets) + "\n]\n"


Fields = dict[str, Any]
_Take = Callable[[str], str | None]


def packet(layers: dict[str, list[str]]) -> Fields | None:
    """A packet in the words of `harness.model.records.Packet`, without what is not there; None for neither IP nor ARP.

    Args:
        layers: Of one packet. Each header takes the next value of its fields: outer headers come first.
    """
    values = {name: iter(listed) for name, listed in layers.items()}

    def take(field: str) -> str | None:
        return next(values.get(field, iter(())), None)

    fields = _packet((take("frame.protocols") or "").split(":"), take)
    if fields is not None:
        seconds, _, fraction = (take("frame.time_epoch") or "").partition(".")
        fields |= {"frame": _number(take("frame.len")), "t_us": int(seconds) * 1_000_000 + int(fraction[:6])}
    return fields


def _packet(protocols: list[str], take: _Take) -> Fields | None:
    """The packet that begins with the next header; what a tunnel header wraps is `inner`."""
    fields: Fields = {}
    while protocols:
        name = protocols.pop(0)
        if name in {"ip", "ipv6"} and "src" in fields:
            fields["inner"] = _packet([name, *protocols], take)
            break
        if name in {"vxlan", "geneve"}:
            fields |= {"vni": _number(take(f"{name}.vni")), "inner": _packet(protocols, take)}
            flags = _number(take("vxlan.flags"))
            fields["vxlan_flags"] = None if flags is None else flags >> 8
            break
        if name not in _LINKS:
            fields |= _header(name, fields, take)
        if name in _ECHO:
            break  # what an error quotes was not sent in this packet
    there = {key: value for key, value in fields.items() if value is not None}
    return there if {"src", "dst"} <= there.keys() else None


def _header(name: str, before: Fields, take: _Take) -> Fields:
    if name == "eth":
        return {"src_mac": take("eth.src"), "dst_mac": take("eth.dst")}
    if name == "arp":
        source, target = take("arp.src.proto_ipv4"), take("arp.dst.proto_ipv4")
        operation = _number(take("arp.opcode"))
        return {"src": source, "dst": target, "arp_op": operation, "proto": "arp", "length": 28, "ttl": 0}
    if name in {"ip", "ipv6"}:
        return _ipv4(take) if name == "ip" else _ipv6(take)
    if name in _EXTENSIONS:
        return before | _extension(name, take)
    if name in {"tcp", "udp", "sctp"}:
        flags = _number(take("tcp.flags")) if name == "tcp" else None
        return {
            "src_port": _number(take(f"{name}.srcport")), "dst_port": _number(take(f"{name}.dstport")),
            "tcp_flags": None if flags is None else "".join(c for bit, c in enumerate("FSRPAUEC") if flags & 1 << bit),
            "tcp_mss": _number(take("tcp.options.mss_val")) if name == "tcp" else None,
        }  # fmt: skip
    return _icmp(name, take) if name in _ECHO else {}


def _ipv6(take: _Take) -> Fields:
    length = _number(take("ipv6.plen"))
    return {
        "src": take("ipv6.src"), "dst": take("ipv6.dst"), "proto": _protocol(take("ipv6.nxt")), "df": True,
        "length": None if length is None else 40 + length, "ttl": _number(take("ipv6.hlim")),
    }  # fmt: skip


def _extension(name: str, take: _Take) -> Fields:
    following = _protocol(take(f"{name}.nxt"))
    fields: Fields = {} if following is None else {"proto": following}
    if name == "ipv6.fraghdr":
        offset, more = _number(take("ipv6.fraghdr.offset")), _number(take("ipv6.fraghdr.more"))
        fields |= {"fragment_offset": None if offset is None else offset * 8, "more_fragments": bool(more)}
        fields["ip_id"] = _number(take("ipv6.fraghdr.ident"))
    return fields


def _ipv4(take: _Take) -> Fields:
    offset = _number(take("ip.frag_offset"))
    return {
        "src": take("ip.src"), "dst": take("ip.dst"), "proto": _protocol(take("ip.proto")),
        "length": _number(take("ip.len")), "ttl": _number(take("ip.ttl")), "ip_id": _number(take("ip.id")),
        "df": take("ip.flags.df") == "1", "more_fragments": take("ip.flags.mf") == "1",
        "fragment_offset": None if offset is None else offset * 8,
    }  # fmt: skip


def _icmp(name: str, take: _Take) -> Fields:
    kind = _number(take(f"{name}.type"))
    fields: Fields = {
        "icmp_type": kind, "icmp_code": _number(take(f"{name}.code")), "icmp_mtu": _number(take(f"{name}.mtu")),
    }  # fmt: skip
    if kind in _ECHO[name]:
        ident, number = (
            ("icmp.ident", "icmp.seq") if name == "icmp" else ("icmpv6.echo.identifier", "icmpv6.echo.sequence_number")
        )
        fields |= {"icmp_id": _number(take(ident)), "icmp_seq": _number(take(number))}
        if fields["icmp_seq"] is None:
            return {}  # cut off before its end: tshark takes that in halves, otherwise for IPv4 than for IPv6
    return fields | (_discovery(take) if name == "icmpv6" else {})


def _discovery(take: _Take) -> Fields:
    """What ICMPv6 says of neighbours, routers and multicast groups."""
    flags = [letter for of, letter in _FLAGS if take(f"icmpv6.nd.{of}.flag.{letter.lower()}") == "1"]
    prefixes = [f"{one}/{take('icmpv6.opt.prefix.length')}" for one in iter(lambda: take("icmpv6.opt.prefix"), None)]
    groups = "icmpv6.mldr.mar.multicast_address", "icmpv6.mld.multicast_address"
    known = {
        "nd_target": take("icmpv6.nd.ns.target_address") or take("icmpv6.nd.na.target_address"),
        "nd_mac": take("icmpv6.opt.linkaddr"), "nd_flags": "".join(flags),
        "nd_lifetime": _number(take("icmpv6.nd.ra.router_lifetime")), "nd_prefixes": tuple(prefixes),
        "mld_groups": tuple(group for field in groups for group in iter(lambda: take(field), None)),  # noqa: B023
    }  # fmt: skip
    mtu = _number(take("icmpv6.opt.mtu"))
    return known if mtu is None else known | {"icmp_mtu": mtu}


def _number(text: str | None) -> int | None:
    return None if text is None else int(text, 0)


def _protocol(text: str | None) -> str | None:
    return None if text is None else _NAMES.get(int(text), text)
