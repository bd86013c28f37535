"""Whether what nftables asks of a packet holds, as `nft -j list ruleset` writes it.

Values of a packet are texts, numbers, sets of flags, or tuples of these. What is not understood has no value.
"""

from __future__ import annotations

import ipaddress
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from conformance.netfilter import Flow, Json, in_network

UNKNOWN: Final = object()
"""The value of what this module does not understand, or of what a flow does not say."""

ABSENT: Final = object()
"""The value of a field that the packet does not have: no rule that asks for it matches, whatever it compares with."""

Sets = Mapping[str, Sequence[Any] | None]
"""Named sets and maps of a table, by name; None where members come and go with packets."""

_ORDER: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge,
}  # fmt: skip
_UNTRANSLATED: Final = {"snat", "dnat"}
_IPV6_HEADER: Final = 40
"""Bytes that the length in an IPv6 header does not count (RFC 8200, section 3)."""


def holds(match: Json, flow: Flow, sets: Sets) -> bool | None:
    """Whether a match holds; None when that is not known.

    Args:
        match: Its two sides and the operator.
        flow: The packet.
        sets: Of the rule's table.
    """
    left, right, how = match["left"], match["right"], match.get("op", "==")
    found = value(left, flow)
    if found is ABSENT:
        return False
    if found is UNKNOWN:
        return None
    if how in _ORDER:
        return _ORDER[how](found, right) if isinstance(found, int) and isinstance(right, int) else None
    if how != "in" and isinstance(found, frozenset) and "&" in left and isinstance(right, list | str):
        inside: bool | None = found == _flags(right)  # a mask was laid over the flags: all of the rest are meant
    else:
        inside = member(found, right, sets)
    return inside if inside is None or how != "!=" else not inside


def chosen(vmap: Json, flow: Flow, sets: Sets) -> tuple[list[Json], bool | None]:
    """Verdicts that a verdict map may give, and whether it gives one; None when that is not known.

    Args:
        vmap: Its key and its data.
        flow: The packet.
        sets: Of the rule's table.
    """
    data = vmap.get("data")
    pairs = sets.get(data.removeprefix("@")) if isinstance(data, str) else (data or {}).get("set")
    found = value(vmap.get("key"), flow)
    if found is ABSENT:
        return [], False
    if pairs is None:
        return [{"unknown": None}], None
    possible: list[Json] = []
    for key, verdict in pairs:
        hit = None if found is UNKNOWN else member(found, key, sets)
        if hit is not False:
            possible.append(verdict)
        if hit:
            return possible, True if len(possible) == 1 else None
    return possible, None if possible else False


def value(left: Any, flow: Flow) -> Any:  # noqa: C901, PLR0911, PLR0912 - one return per expression
    """What an expression gives for a packet.

    Args:
        left: The expression.
        flow: The packet.
    """
    match left:
        case int():
            return left
        case {"concat": list() as parts}:
            values = tuple(value(part, flow) for part in parts)
            return next((one for odd in (ABSENT, UNKNOWN) for one in values if one is odd), values)
        case {"payload": {"protocol": str() as header, "field": str() as name}}:
            return _field(header, name, flow)
        case {"meta": {"key": str() as key}}:
            return _meta(key, flow)
        case {"ct": {"key": "state"}}:
            return frozenset({flow.state.lower()})
        case {"ct": {"key": "status"}}:
            return _TRANSLATED_STATUS if flow.dnated else _UNTRANSLATED_STATUS
        case {"fib": {"result": "type", "flags": ["daddr"]}}:
            return "local" if flow.to_local else UNKNOWN
        case {"&": [first, second]}:
            one, other = value(first, flow), value(second, flow) if not isinstance(second, list) else second
            if isinstance(one, frozenset):
                return one & _flags(other) if isinstance(other, list | str) else UNKNOWN
            return one & other if isinstance(one, int) and isinstance(other, int) else _odd(one, other)
        case {"|": [first, second]}:
            one, other = value(first, flow), value(second, flow)
            return one | other if isinstance(one, int) and isinstance(other, int) else _odd(one, other)
        case {"^": [first, second]}:
            one, other = value(first, flow), value(second, flow)
            return one ^ other if isinstance(one, int) and isinstance(other, int) else _odd(one, other)
        case str() if left.isalpha():
            return left
        case _:
            return UNKNOWN


def _odd(*values: object) -> object:
    return ABSENT if ABSENT in values else UNKNOWN


class _Status(frozenset[str]):
    """Of a connection: what of it was translated; the rest of its status is not known."""


_UNTRANSLATED_STATUS: Final = _Status()
_TRANSLATED_STATUS: Final = _Status({"dnat"})


def _meta(key: str, flow: Flow) -> Any:
    known: dict[str, Any] = {
        "iifname": flow.iif,
        "iif": flow.iif,
        "oifname": flow.oif,
        "oif": flow.oif,
        "l4proto": flow.protocol,
        "nfproto": flow.family,
        "protocol": {"ipv4": "ip", "ipv6": "ip6"}[flow.family],
        "length": flow.length,
        "mark": UNKNOWN if flow.mark is None else flow.mark,
    }
    return known.get(key, UNKNOWN)


def _field(header: str, name: str, flow: Flow) -> Any:  # noqa: PLR0911 - one return per header
    if header in {"ip", "ip6"}:
        if (header == "ip6") != (flow.family == "ipv6"):
            return ABSENT
        known = {
            "saddr": flow.src, "daddr": flow.dst, "protocol": flow.protocol, "nexthdr": flow.protocol,
            "length": flow.length - (_IPV6_HEADER if header == "ip6" else 0),
        }  # fmt: skip
        return known.get(name, UNKNOWN)
    if header in {"icmp", "icmpv6"}:
        if (header == "icmpv6") != (flow.family == "ipv6") or flow.proto != "icmp":
            return ABSENT
        return _icmp(name, flow)
    if header in {"tcp", "udp", "th"}:
        if flow.proto not in ({"tcp", "udp"} if header == "th" else {header}):
            return ABSENT
        if (header, name) == ("tcp", "flags"):
            return frozenset({"syn"} if flow.state == "NEW" else {"ack"})
        return flow.dport if name == "dport" else UNKNOWN
    if header in {"sctp", "dccp", "udplite", "arp", "ah", "esp", "vlan"}:
        return ABSENT
    if (header, name) == ("ether", "type"):
        return {"ipv4": "ip", "ipv6": "ip6"}[flow.family]
    return UNKNOWN


def _icmp(name: str, flow: Flow) -> Any:
    """A field of ICMP: of errors, those that path MTU discovery needs (RFC 1191; RFC 4443)."""
    if name == "type":
        return flow.icmp
    return _NEEDED if name == "code" and flow.icmp == "destination-unreachable" else UNKNOWN


class _Code(str):
    """A code that some versions of nft(8) write as a name, and others as a number."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return str(self) == other or other == _FRAGMENTATION_NEEDED


_FRAGMENTATION_NEEDED: Final = 4
_NEEDED: Final = _Code("frag-needed")


def member(found: Any, right: Any, sets: Sets) -> bool | None:  # noqa: C901, PLR0911 - one return per form
    """Whether a value is the other side of a match, or in it.

    Args:
        found: The packet's value.
        right: A value, a set, a range, or the name of a set.
        sets: Of the rule's table.
    """
    if isinstance(found, frozenset):
        return _flagged(found, right)
    match right:
        case {"set": list() as members}:
            return _any(member(found, one, sets) for one in members)
        case list():
            return _any(member(found, one, sets) for one in right)
        case {"elem": {"val": inner}}:
            return member(found, inner, sets)
        case {"concat": list() as parts}:
            if not isinstance(found, tuple) or len(parts) != len(found):
                return None
            said = [member(one, part, sets) for one, part in zip(found, parts, strict=True)]
            return False if False in said else None if None in said else True
        case {"prefix": {"addr": str() as network, "len": int() as length}}:
            return in_network(found, f"{network}/{length}")
        case {"range": [low, high]}:
            return _between(found, low, high)
        case str() if right.startswith("@"):
            named = sets.get(right[1:])
            return None if named is None else _any(member(found, one, sets) for one in named)
        case str() if right.endswith("*"):
            return str(found).startswith(right[:-1])
        case str() | int():
            return bool(found == right)
        case _:
            return None


def _any(said: Iterable[bool | None]) -> bool | None:
    """True for one that is; None where one may be."""
    found = set(said)
    return True if True in found else None if None in found else False


def _between(found: Any, low: Any, high: Any) -> bool | None:
    if isinstance(found, int) and isinstance(low, int):
        return bool(low <= found <= high)
    if isinstance(found, str) and isinstance(low, str):
        ends = [ipaddress.ip_address(text) for text in (low, found, high)]
        return ends[0] <= ends[1] <= ends[2]  # type: ignore[operator]  # all of one family
    return None


def _flags(right: list[Any] | str) -> frozenset[str]:
    return frozenset(right if isinstance(right, list) else [right])


def _flagged(found: frozenset[str], right: Any) -> bool | None:
    """Flags: of those that are named, one is set. Of a status nothing is known but what was translated."""
    if isinstance(right, Mapping):
        right = right.get("set")
    if not isinstance(right, list | str) or not all(isinstance(one, str) for one in _flags(right)):
        return None
    if isinstance(found, _Status):
        if found & _flags(right):
            return True
        return False if _flags(right) <= _UNTRANSLATED else None
    return bool(found & _flags(right))
