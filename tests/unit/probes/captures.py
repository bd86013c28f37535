"""Small captures of all that the decoder knows. They are in the folder `stored`, with what tshark makes of them.

python -m tests.unit.probes.captures        writes both anew; needs tshark
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from itertools import starmap
from pathlib import Path
from typing import Final

from harness.probes import pcap
from tests.unit.probes import frames as make
from tests.unit.probes import tshark

FOLDER: Final = Path(__file__).parent / "stored"

A, C, N1, N2 = "10.244.1.2", "10.244.2.2", "172.18.0.11", "172.18.0.12"
A6, C6, N16, N26 = "fd00:244:1::2", "fd00:244:2::2", "fd00:18::11", "fd00:18::12"
IPV6, ARP, VLAN, QINQ = 0x86DD, 0x0806, 0x8100, 0x88A8
SYN: Final = bytes.fromhex("020405820402080a000000010000000001030307")  # MSS 1410, SACK, timestamps, window scale
DNS: Final = bytes.fromhex("1234010000010000000000000377777707 6f757473696465047465737400 00010001".replace(" ", ""))
ECHO: Final = make.ipv4(make.echo(seq=3), A, C, 1, ttl=63, flags=0x4000, ip_id=77)
CONNECT: Final = make.ipv4(make.tcp(40000, 8080, 0x02, SYN), A, C, 6, flags=0x4000)
QUERY: Final = make.ipv4(make.udp(DNS, 40001, 53), A, "10.96.0.10", 17)
WHO_HAS: Final = (
    bytes.fromhex("0001080006040001020000000101") + IPv4Address(A).packed + bytes(6) + IPv4Address(C).packed
)
IS_AT: Final = (
    bytes.fromhex("0001080006040002020000000202") + IPv4Address(C).packed + make.MAC_A + IPv4Address(A).packed
)


def _ether(packet: bytes, kind: int = 0x0800) -> bytes:
    return make.ethernet(packet, kind)


def _tagged(packet: bytes, *tags: tuple[int, int], kind: int = 0x0800) -> bytes:
    """A frame with VLAN tags: TPID and TCI of each."""
    whole = b"".join(starmap(lambda tpid, tci: struct.pack("!HH", tpid, tci), tags)) + struct.pack("!H", kind)
    return make.ethernet(whole[2:] + packet, tags[0][0])


def _vxlan(inner: bytes, port: int = 8472, vni: int = 1) -> bytes:
    return _ether(make.ipv4(make.udp(make.vxlan(inner, vni), 41000, port), N1, N2, 17))


def _geneve(inner: bytes, options: bytes = b"", kind: int = 0x6558) -> bytes:
    return _ether(make.ipv4(make.udp(make.geneve(inner, 0x1ACB, options, kind), 41000, 6081), N1, N2, 17))


def _six(payload: bytes, following: int) -> bytes:
    return make.ipv6(payload, A6, C6, following, hops=62)


def _echo6(kind: int = 128) -> bytes:
    return make.echo(kind, ident=9, seq=2, size=16)


def _piece6(offset: int, *, more: bool, following: int, payload: bytes) -> bytes:
    return _six(struct.pack("!BBHI", following, 0, offset | more, 0xABCD) + payload, 44)


def _talk(body: str, *, hop: bytes = b"") -> bytes:
    """A message of ICMPv6 to all on the link, in hexadecimal."""
    payload = hop + bytes.fromhex(body)
    return _ether(make.ipv6(payload, "fe80::101", "ff02::1", 0 if hop else 58, hops=1 if hop else 255), IPV6)


def _vxlan6(inner: bytes, port: int = 8472) -> bytes:
    return _ether(make.ipv6(make.udp(make.vxlan(inner), 41000, port), N16, N26, 17), IPV6)


def _geneve6(inner: bytes, kind: int = 0x6558) -> bytes:
    return _ether(make.ipv6(make.udp(make.geneve(inner, 7, b"", kind), 41000, 6081), N16, N26, 17), IPV6)


def _error(kind: int, code: int, word: int, about: bytes, *, six: bool = False) -> bytes:
    body = struct.pack("!BBHI", kind, code, 0, word) + about
    return _six(body, 58) if six else make.ipv4(body, "172.18.0.1", A, 1)


def _with_options(packet: bytes) -> bytes:
    """An IPv4 packet with a router alert in its header."""
    total = int.from_bytes(packet[2:4]) + 4
    return b"\x46" + packet[1:2] + total.to_bytes(2) + packet[4:20] + b"\x94\x04\0\0" + packet[20:]


def _without_length(packet: bytes) -> bytes:
    """An IPv4 packet that the NIC will cut: its length is not filled in."""
    return packet[:2] + bytes(2) + packet[4:]


def _without_length6(packet: bytes) -> bytes:
    return packet[:4] + bytes(2) + packet[6:]


_MORE, _LAST = 0x2000, 185  # in units of 8 bytes: 1480
_HOP = b"\x3a\0\x05\x02\0\0\x01\0"  # then ICMPv6: a router alert, as in every report of multicast listeners
_T, _G = IPv6Address(C6).packed.hex(), IPv6Address("ff02::1:ff00:2").packed.hex()
_P = f"030440c0 00015180 00003840 00000000 {IPv6Address('fd00:244:1::').packed.hex()}"  # a prefix of a router
_SCTP = struct.pack("!HHII", 5000, 5001, 1, 0) + bytes.fromhex("0100001400000001000100000a0a0a0a00000001")[:20]
_WG_BEGIN, _WG_DATA = b"\x01\0\0\0" + bytes(144), b"\x04\0\0\0" + struct.pack("<IQ", 7, 1) + bytes(range(96))

FRAMES: Final[dict[str, tuple[int, tuple[bytes, ...]]]] = {
    "plain": (pcap.ETHERNET, (
        _ether(ECHO), _ether(make.ipv4(make.echo(0), C, A, 1)), _ether(CONNECT), _ether(QUERY),
        *(_ether(make.ipv4(make.tcp(8080, 40000, bits), C, A, 6)) for bits in (0x12, 0x10, 0x18, 0x11, 4, 0x14, 0xC2)),
        _ether(_with_options(ECHO)), _ether(make.ipv4(_SCTP, A, C, 132)), _ether(make.ipv4(bytes(40), A, C, 50)),
        _ether(make.ipv4(make.udp(b"", 1, 8472), N1, N2, 17) + bytes(18)), make.canary("start"),
    )),
    "vxlan": (pcap.ETHERNET, (
        _vxlan(_ether(ECHO)), _vxlan(_ether(CONNECT), 4789, 0xABCDEF), _vxlan(_ether(QUERY), 6784),
        _vxlan(_ether(WHO_HAS, ARP)), _vxlan(_ether(_six(_echo6(), 58), IPV6)), _vxlan(_tagged(ECHO, (VLAN, 5))),
        _ether(make.ipv6(make.udp(make.vxlan(_ether(ECHO)), 41000, 8472), N16, N26, 17), IPV6),
    )),
    "geneve": (pcap.ETHERNET, (
        _geneve(_ether(ECHO)), _geneve(_ether(CONNECT), b"\x01\x14\x81\x02" + bytes(8)), _geneve(_ether(QUERY)),
        _geneve(_ether(_six(_echo6(), 58), IPV6)), _geneve(ECHO, kind=0x0800), _geneve(_six(_echo6(), 58), kind=IPV6),
    )),
    "wireguard": (pcap.ETHERNET, (
        _ether(make.ipv4(make.udp(_WG_BEGIN, 51820, 51820), N1, N2, 17)),
        _ether(make.ipv4(make.udp(_WG_DATA, 51820, 51820), N1, N2, 17)),
    )),
    "ipv6": (pcap.ETHERNET, (
        *(_ether(_six(_echo6(kind), 58), IPV6) for kind in (128, 129)),
        _ether(_six(make.tcp(40000, 8080, 0x02, SYN), 6), IPV6), _ether(_six(make.udp(DNS, 40001, 53), 17), IPV6),
        _ether(_six(b"\x87\0\0\0" + bytes(4) + bytes(15) + b"\x01" + b"\x01\x01" + make.MAC_A, 58), IPV6),
        _ether(_six(_HOP + b"\x8f\0\0\0\0\0\0\0", 0), IPV6),
        _ether(_six(b"\x11\0\x01\x04\0\0\0\0" + make.udp(b"x", 5, 6), 60), IPV6),
        _ether(_six(b"\x3c\0\x01\x04\0\0\0\0" + b"\x06\0\x01\x04\0\0\0\0" + make.tcp(1, 2, 0x10), 0), IPV6),
        _ether(_six(b"\x11\x02\x02\x01" + bytes(20) + make.udp(b"x", 5, 6), 43), IPV6),
        _ether(_six(b"", 59), IPV6),
    )),
    "neighbours": (pcap.ETHERNET, (
        _talk(f"87000000 00000000 {_T} 0101020000000101"),  # solicitation, with the asker's link-layer address
        _talk(f"87000000 00000000 {_T}"),  # that of duplicate address detection has none
        _talk(f"88000000 60000000 {_T} 0201020000000202"), _talk(f"88000000 80000000 {_T}"),
        _talk("85000000 00000000 0101020000000101"),
        _talk(f"86000000 4040 0708 00000000 00000000 0101020000000101 05010000000005dc {_P}"),
        _talk(f"86000000 40c0 0000 00000000 00000000 {_P} {_P}"),
    )),
    "listeners": (pcap.ETHERNET, (
        _talk(f"82002710 27100000 {'00' * 16} 027d 0000", hop=_HOP), _talk(f"83000000 00000000 {_G}", hop=_HOP),
        _talk(f"84000000 00000000 {_G}", hop=_HOP), _talk(f"8f000000 00000001 04000000 {_G}", hop=_HOP),
        _talk(f"8f000000 00000002 04000001 {_G} {_T} 03000000 {_G}", hop=_HOP),
    )),
    "tunnel6": (pcap.ETHERNET, (
        *(tunnel(_ether(_six(payload, number), IPV6)) for tunnel in (_vxlan6, _geneve6) for payload, number in (
            (_echo6(), 58), (_echo6(129), 58), (make.tcp(40000, 8080, 0x02, SYN), 6), (make.udp(DNS, 40001, 53), 17),
        )),
        _vxlan6(_talk(f"87000000 00000000 {_T} 0101020000000101"), 4789), _vxlan6(_ether(WHO_HAS, ARP)),
        _geneve6(_ether(CONNECT)), _geneve6(_six(_echo6(), 58), IPV6),
        _vxlan6(_ether(_piece6(0, more=True, following=17, payload=make.udp(bytes(64), 5, 6)), IPV6)),
        _ether(_piece6(0, more=True, following=17, payload=make.udp(make.vxlan(_ether(ECHO)), 5, 8472)), IPV6),
    )),
    "fragments": (pcap.ETHERNET, (
        _ether(make.ipv4(make.udp(bytes(1472), 5, 6)[:1480], A, C, 17, flags=_MORE, ip_id=5)),
        _ether(make.ipv4(bytes(100), A, C, 17, flags=_LAST, ip_id=5)),
        _ether(make.ipv4(make.echo(size=1472), A, C, 1, flags=_MORE, ip_id=6)),
        _ether(make.ipv4(bytes(1480), A, C, 1, flags=_MORE | _LAST, ip_id=6)),
        _ether(_piece6(0, more=True, following=17, payload=make.udp(bytes(64), 5, 6)), IPV6),
        _ether(_piece6(1448, more=False, following=17, payload=bytes(16)), IPV6),
        _ether(_piece6(0, more=True, following=58, payload=_echo6()), IPV6),
        _ether(_six(b"\x2c\0\x01\x04\0\0\0\0" + struct.pack("!BBHI", 6, 0, 1, 9) + make.tcp(1, 2, 0x10), 60), IPV6),
    )),
    "vlan": (pcap.ETHERNET, (
        _tagged(ECHO, (VLAN, 5)), _tagged(ECHO, (VLAN, 0xE000)), _tagged(CONNECT, (QINQ, 100), (VLAN, 5)),
        _tagged(QUERY, (VLAN, 100), (VLAN, 5)), _tagged(WHO_HAS, (VLAN, 5), kind=ARP),
        _tagged(_six(_echo6(), 58), (VLAN, 5), kind=IPV6),
    )),
    "arp": (pcap.ETHERNET, (_ether(WHO_HAS, ARP), _ether(IS_AT + bytes(18), ARP))),
    "ipip": (pcap.ETHERNET, (
        _ether(make.ipv4(ECHO, N1, N2, 4)), _ether(make.ipv4(CONNECT, N1, N2, 4)), _ether(make.ipv4(QUERY, N1, N2, 4)),
        _ether(make.ipv4(_six(_echo6(), 58), N1, N2, 41)), _ether(make.ipv6(ECHO, N16, N26, 4), IPV6),
        _ether(make.ipv6(_six(_echo6(), 58), N16, N26, 41), IPV6),
    )),
    "errors": (pcap.ETHERNET, (
        _ether(_error(3, 4, 1300, CONNECT)), _ether(_error(3, 3, 0, QUERY)), _ether(_error(11, 0, 0, ECHO)),
        _ether(_error(2, 0, 1280, _six(make.udp(b"", 1, 2), 17), six=True), IPV6),
        *(_ether(_error(kind, code, 0, _six(make.udp(b"", 1, 2), 17), six=True), IPV6)
          for kind, code in ((1, 0), (1, 1), (1, 3), (1, 4), (3, 0), (4, 1))),
    )),
    "offload": (pcap.ETHERNET, (
        _ether(_without_length(make.ipv4(make.tcp(1, 2, 0x18), A, C, 6))),
        _ether(_without_length(make.ipv4(make.udp(DNS, 1, 2), A, C, 17))),
        _ether(_without_length6(_six(make.tcp(1, 2, 0x18), 6)), IPV6),
    )),
    "cooked": (pcap.LINUX_SLL, (bytes(14) + b"\x08\0" + ECHO, bytes(14) + b"\x86\xdd" + _six(_echo6(), 58))),
    "cooked2": (pcap.LINUX_SLL2, (b"\x08\0" + bytes(18) + ECHO, b"\x86\xdd" + bytes(18) + _six(_echo6(), 58))),
    "raw": (pcap.RAW_IP, (ECHO, _six(_echo6(), 58))),
}  # fmt: skip
"""Name of a capture to its link type and frames."""

CUT: Final = (
    _ether(ECHO),
    _ether(CONNECT),
    _vxlan(_ether(ECHO)),
    _ether(make.ipv4(ECHO, N1, N2, 4)),
    _tagged(ECHO, (VLAN, 5)),
)
CUT_SIX: Final = (_ether(_six(_echo6(), 58), IPV6), _ether(_six(_HOP + _echo6(), 0), IPV6), _ether(WHO_HAS, ARP))


def _capture(link: int, frames: Iterable[bytes]) -> bytes:
    return make.pcap(
        *((1_700_000_000_000_000 + n * 1500, data) for n, data in enumerate(frames)), link=link, snaplen=2048
    )


def _truncated(frames: Iterable[bytes]) -> bytes:
    """Each frame cut off after some of its bytes, in its headers and a little behind them."""
    cuts = ((data, at) for data in frames for at in range(13, min(len(data), 112), 3))
    header = make.pcap(snaplen=2048)
    return header + b"".join(make.pcap((n, data), snaplen=at)[len(header) :] for n, (data, at) in enumerate(cuts))


def captures() -> dict[str, bytes]:
    """All of them, by name."""
    return {
        **{name: _capture(link, frames) for name, (link, frames) in FRAMES.items()},
        "truncated": _truncated(CUT),
        "truncated6": _truncated(CUT_SIX),
    }


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, content in captures().items():
        place = FOLDER / f"{name}.pcap"
        place.write_bytes(content)
        place.with_suffix(".json").write_text(tshark.as_text(tshark.dissect(place)))


if __name__ == "__main__":
    main()
