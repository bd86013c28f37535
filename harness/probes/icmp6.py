"""ICMPv6 messages as fields of a packet: echo, errors, neighbours, routers and listeners of multicast groups.

Pure functions. A message that is cut off before its end says what could be read of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import IPv6Address
from typing import Any, Final

TOO_BIG: Final = 2
ECHO: Final = (128, 129)
_MLD: Final = (130, 131, 132)
_ROUTER_ADVERTISEMENT, _SOLICITATION, _ADVERTISEMENT, _REDIRECT, _REPORT = 134, 135, 136, 137, 143
_OPTIONS_AT: Final = {133: 8, _ROUTER_ADVERTISEMENT: 16, _SOLICITATION: 24, _ADVERTISEMENT: 24, _REDIRECT: 40}
"""Type of a message of neighbour discovery to where its options begin (RFC 4861 §4)."""

_LINK_ADDRESSES: Final = (1, 2)
_PREFIX, _MTU = 3, 5
_HEADER: Final = 8
_MAC: Final = 6
_ADDRESS: Final = 16

Fields = dict[str, Any]


def message(data: bytes) -> Fields:
    """RFC 4443, 4861, 2710 and 3810.

    Args:
        data: Less than a whole header says nothing.
    """
    if len(data) < _HEADER:
        return {}
    kind, code = data[0], data[1]
    fields: Fields = {"icmp_type": kind, "icmp_code": code}
    if kind in ECHO:
        fields["icmp_id"], fields["icmp_seq"] = struct.unpack_from("!HH", data, 4)
    elif kind == TOO_BIG:
        fields["icmp_mtu"] = int.from_bytes(data[4:8])
    elif kind in _OPTIONS_AT:
        fields |= _discovery(kind, data)
    elif kind == _REPORT:
        fields["mld_groups"] = tuple(_reported(data))
    elif kind in _MLD and len(data) >= _HEADER + _ADDRESS:
        fields["mld_groups"] = (_address(data, _HEADER),)
    return fields


def _address(data: bytes, at: int) -> str:
    return str(IPv6Address(data[at : at + _ADDRESS]))


def _letters(names: str, bits: int) -> str:
    """Names of the bits that are set, the highest first."""
    return "".join(name for number, name in enumerate(names) if bits & 0x80 >> number)


def _discovery(kind: int, data: bytes) -> Fields:
    """Neighbours and routers: whom a message is about, what it says of them, and the options behind (RFC 4861 §4)."""
    fields: Fields = {}
    if kind in (_SOLICITATION, _ADVERTISEMENT, _REDIRECT) and len(data) >= _HEADER + _ADDRESS:
        fields["nd_target"] = _address(data, _HEADER)
    if kind == _ADVERTISEMENT:
        fields["nd_flags"] = _letters("RSO", data[4])
    if kind == _ROUTER_ADVERTISEMENT:
        fields |= {"nd_flags": _letters("MO", data[5]), "nd_lifetime": int.from_bytes(data[6:8])}
    prefixes = []
    for option, body in _options(data[_OPTIONS_AT[kind] :]):
        if option in _LINK_ADDRESSES:
            fields["nd_mac"] = body[:_MAC].hex(":")
        elif option == _MTU:
            fields["icmp_mtu"] = int.from_bytes(body[2:6])
        elif option == _PREFIX and len(body) >= 14 + _ADDRESS:
            prefixes.append(f"{_address(body, 14)}/{body[0]}")
    return fields | ({"nd_prefixes": tuple(prefixes)} if prefixes else {})


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Whole options: type and what follows its length, which counts in units of 8 bytes (RFC 4861 §4.6)."""
    while len(data) >= 8 and data[1]:
        size = data[1] * 8
        if len(data) < size:
            return
        yield data[0], data[2:size]
        data = data[size:]


def _reported(data: bytes) -> Iterator[str]:
    """Groups of a report: one record each, with a list of sources and auxiliary data (RFC 3810 §5.2)."""
    at = _HEADER
    for _ in range(int.from_bytes(data[6:8])):
        if len(data) < at + 4 + _ADDRESS:
            return
        yield _address(data, at + 4)
        at += 4 + _ADDRESS + int.from_bytes(data[at + 2 : at + 4]) * _ADDRESS + data[at + 1] * 4
