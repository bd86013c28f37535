"""Frames and capture files, byte by byte."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

MAC_A, MAC_B = bytes.fromhex("020000000101"), bytes.fromhex("020000000202")


def ethernet(payload: bytes, kind: int = 0x0800, src: bytes = MAC_A, dst: bytes = MAC_B) -> bytes:
    return dst + src + struct.pack("!H", kind) + payload


def ipv4(payload: bytes, src: str, dst: str, proto: int, *, ttl: int = 64, flags: int = 0, ip_id: int = 0) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), ip_id, flags, ttl, proto, 0)
    return head + IPv4Address(src).packed + IPv4Address(dst).packed + payload


def ipv6(payload: bytes, src: str, dst: str, following: int, *, hops: int = 64) -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(payload), following, hops)
    return head + IPv6Address(src).packed + IPv6Address(dst).packed + payload


def udp(payload: bytes, src_port: int, dst_port: int) -> bytes:
    return struct.pack("!HHHH", src_port, dst_port, 8 + len(payload), 0) + payload


def tcp(src_port: int, dst_port: int, flags: int, options: bytes = b"") -> bytes:
    return struct.pack("!HHIIBBHHH", src_port, dst_port, 1, 0, (20 + len(options)) * 4, flags, 64240, 0, 0) + options


def echo(kind: int = 8, ident: int = 7, seq: int = 1, size: int = 56) -> bytes:
    return struct.pack("!BBHHH", kind, 0, 0, ident, seq) + bytes(size)


def vxlan(frame: bytes, vni: int = 1) -> bytes:
    return b"\x08\0\0\0" + vni.to_bytes(3) + b"\0" + frame


def geneve(frame: bytes, vni: int = 1, options: bytes = b"", kind: int = 0x6558) -> bytes:
    return bytes([len(options) // 4, 0]) + kind.to_bytes(2) + vni.to_bytes(3) + b"\0" + options + frame


def pcap(
    *frames: tuple[int, bytes], order: str = "<", magic: int = 0xA1B2C3D4, link: int = 1, snaplen: int = 256
) -> bytes:
    """A capture file of frames with their times in microseconds (or nanoseconds, with that magic)."""
    unit = 1_000_000_000 if magic == 0xA1B23C4D else 1_000_000
    file = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, link)
    for t, data in frames:
        kept = data[:snaplen]
        file += struct.pack(order + "IIII", t // unit, t % unit, len(kept), len(data)) + kept
    return file


def canary(word: str) -> bytes:
    return ethernet(word.encode().ljust(46, b"\0"), 0x88B5)
