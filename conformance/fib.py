"""How a node's kernel decides where a packet goes: policy rules, tables, longest prefixes. Pure.

The model is that of `fib_rules_lookup` and `fib_table_lookup`: rules are tried in the order of their preference. A rule
that matches asks a table. A table without a route, one that says `throw`, and one whose route the rule suppresses,
leave the packet to the next rule.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from conformance.dumps import INET
from harness.model.family import Address, Family, Range

LENGTHS: Final[Mapping[Family, int]] = {"ipv4": 32, "ipv6": 128}
"""Bits of an address."""

LOCAL, MAIN, DEFAULT = "local", "main", "default"
"""Tables that the kernel itself has."""

_NUMBERS: Final = {"255": LOCAL, "254": MAIN, "253": DEFAULT}
_REFUSALS: Final = frozenset({"blackhole", "unreachable", "prohibit"})
_KNOWN: Final = frozenset({
    "priority", "not", "src", "srclen", "dst", "dstlen", "iif", "oif", "iif_detached", "oif_detached", "table",
    "suppress_prefixlen", "suppress_ifgroup", "fwmark", "fwmask", "tos", "ipproto", "sport", "sport_start", "sport_end",
    "dport", "dport_start", "dport_end", "uid_start", "uid_end", "tun_id", "l3mdev", "goto", "nop", "unresolved",
    "action", "protocol",
})  # fmt: skip
"""What `ip -j rule` says of a rule, and this module understands."""


@dataclass(frozen=True)
class Packet:
    """What a decision depends on.

    Args:
        dst: Where it is to go.
        src: Who sends it; None for a socket of the node's own that has not chosen an address yet.
        iif: The device by which it came; `lo` for what the node itself sends.
        mark: Its mark (fwmark).
        uid: User of the socket; what is forwarded has 0.
        proto: Transport protocol; empty: none that a rule could name.
        sport: Its port at the sender.
        dport: Its port at the receiver.
    """

    dst: Address
    src: Address | None = None
    iif: str = "lo"
    mark: int = 0
    uid: int = 0
    proto: str = ""
    sport: int = 0
    dport: int = 0


@dataclass(frozen=True)
class Route:
    """A row of a table.

    Args:
        network: What it covers.
        kind: unicast, local, throw, unreachable …
        way: Where it leads: gateways and devices, as text that can be compared.
        devices: By which devices.
        metric: The lower one of two equal networks wins.
        source: The address that packets of the node's own get; empty: that of the device.
    """

    network: Range
    kind: str
    way: str
    devices: tuple[str, ...] = ()
    metric: int = 0
    source: str = ""

    @property
    def is_default(self) -> bool:
        """It covers everything, and so nothing in particular."""
        return self.network.prefixlen == 0

    def __str__(self) -> str:
        name = "default" if self.is_default else _network(self.network)
        return " ".join(word for word in ("" if self.kind == "unicast" else self.kind, name, self.way) if word)


def _network(network: Range) -> str:
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def route_of(row: Mapping[str, Any], family: Family) -> Route | None:
    """A row of `ip -d -j route show table all`; None if it is of another family, or no packet can take it."""
    network = _dst(row, family)
    if network is None or "dead" in (row.get("flags") or ()) or row.get("type") in {"multicast", "broadcast"}:
        return None
    hops = row.get("nexthops") or (row,)
    ways = tuple(_hop(hop) for hop in hops)
    devices = tuple(str(hop["dev"]) for hop in hops if "dev" in hop)
    kind, metric, source = str(row.get("type", "unicast")), int(row.get("metric") or 0), str(row.get("prefsrc") or "")
    return Route(network, kind, " or ".join(ways), devices, metric, source)


def _hop(hop: Mapping[str, Any]) -> str:
    gateway = hop.get("gateway") or (hop.get("via") or {}).get("host")
    return " ".join([*(["via", str(gateway)] if gateway else []), *(["dev", str(hop["dev"])] if "dev" in hop else [])])


def _dst(row: Mapping[str, Any], family: Family) -> Range | None:
    """`default` says no family: a gateway does, and of both kernels' rows only those of IPv6 have `pref`."""
    text = str(row.get("dst", ""))
    if text == "default":
        own = "ipv6" if "pref" in row or ":" in str(row.get("gateway", "")) else "ipv4"
        return ipaddress.ip_network("0.0.0.0/0" if own == "ipv4" else "::/0") if own == family else None
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    return network if network.max_prefixlen == LENGTHS[family] else None


@dataclass(frozen=True)
class Rule:
    """A row of `ip -j rule`.

    Args:
        row: As iproute2 has it.
        family: Of which rules.
    """

    row: Mapping[str, Any]
    family: Family

    @property
    def priority(self) -> int:
        """Its preference."""
        return int(self.row.get("priority", 0))

    @property
    def table(self) -> str:
        """The table that it asks; empty if it asks none."""
        name = str(self.row.get("table", ""))
        return _NUMBERS.get(name, name)

    @property
    def action(self) -> str:
        """`lookup`, `goto`, `nop`, `l3mdev`, or how it refuses."""
        if "action" in self.row:
            return str(self.row["action"])
        return next((word for word in ("goto", "nop", "l3mdev") if word in self.row), "lookup")

    @property
    def plain(self) -> bool:
        """It asks its table for every packet, and takes every answer."""
        meant = set(self.row) - {"priority", "table", "protocol", "src"}
        return self.action == "lookup" and not meant and self.row.get("src", "all") == "all"

    @property
    def unknown(self) -> tuple[str, ...]:
        """Conditions that this module does not understand."""
        return tuple(sorted(set(self.row) - _KNOWN))

    @cached_property
    def source(self) -> Range | None:
        """Senders that it names."""
        return self._prefix("src")

    @cached_property
    def target(self) -> Range | None:
        """Receivers that it names."""
        return self._prefix("dst")

    def _prefix(self, key: str) -> Range | None:
        text = str(self.row.get(key, "all"))
        if text == "all":
            return None
        length = self.row.get(f"{key}len", LENGTHS[self.family])
        return ipaddress.ip_network(f"{text}/{length}", strict=False)

    def matches(self, packet: Packet) -> bool:
        """True when its conditions hold; `not` turns all of them together around."""
        return self._holds(packet) is not ("not" in self.row)

    def _holds(self, packet: Packet) -> bool:
        row = self.row
        # A decision about where to go has no outgoing device yet, and packets of the model come from no tunnel's
        # metadata and have no class of service.
        if {"oif", "tun_id"} & set(row) or int(str(row.get("tos", "0")), 0):
            return False
        mask = int(str(row.get("fwmask", "0xffffffff")), 0)
        return (
            _within(packet.src, self.source)
            and _within(packet.dst, self.target)
            and row.get("iif", packet.iif) == packet.iif
            and ("fwmark" not in row or packet.mark & mask == int(str(row["fwmark"]), 0))
            and ("uid_start" not in row or row["uid_start"] <= packet.uid <= row["uid_end"])
            and str(row.get("ipproto", packet.proto)) == packet.proto
            and _port(row, "sport", packet.sport)
            and _port(row, "dport", packet.dport)
        )

    def example(self, packet: Packet) -> Packet:
        """The packet with the protocol and the ports that the rule asks for: pods may send any."""
        ports = [int(self.row.get(key, self.row.get(f"{key}_start", 0))) for key in ("sport", "dport")]
        proto = str(self.row.get("ipproto", "tcp" if any(ports) else ""))
        return Packet(packet.dst, packet.src, packet.iif, packet.mark, packet.uid, proto, *ports)

    def __str__(self) -> str:
        if self.table:
            return f"rule {self.priority} (table {self.table})"
        return f"rule {self.priority} ({self.action})"


def _within(address: Address | None, network: Range | None) -> bool:
    return network is None or (address is not None and address in network)


def _port(row: Mapping[str, Any], key: str, port: int) -> bool:
    if key in row:
        return int(row[key]) == port
    return f"{key}_start" not in row or int(row[f"{key}_start"]) <= port <= int(row[f"{key}_end"])


@dataclass(frozen=True)
class Decision:
    """Where a packet goes.

    Args:
        rule: By which rule; None if none had an answer.
        route: By which route; None if the rule itself refuses, or none had an answer.
    """

    rule: Rule | None = None
    route: Route | None = None

    @property
    def outcome(self) -> str:
        """What can be compared: the same way by another table is the same."""
        if self.route is not None:
            return f"{self.route.kind} {self.route.way}" if self.route.kind not in _REFUSALS else self.route.kind
        return self.rule.action if self.rule is not None else "unreachable"


@dataclass(frozen=True)
class Fib:
    """Rules and tables of a node, in one family.

    Args:
        rules: In any order.
        tables: Routes by the table's name.
        groups: Group of each device.
    """

    rules: tuple[Rule, ...]
    tables: Mapping[str, tuple[Route, ...]]
    groups: Mapping[str, str]

    @cached_property
    def ordered(self) -> tuple[Rule, ...]:
        """By preference; of the same preference in the order of the kernel."""
        return tuple(sorted(self.rules, key=lambda rule: rule.priority))

    @cached_property
    def further(self) -> tuple[Rule, ...]:
        """Rules that are not one of those that every kernel has."""
        return tuple(rule for rule in self.ordered if not (rule.plain and rule.table in {LOCAL, MAIN, DEFAULT}))

    @cached_property
    def unruled(self) -> Fib:
        """The same tables, asked by the rules that a kernel has by itself."""
        return Fib(plain_rules(self.rules[0].family), self.tables, self.groups)

    def decide(self, packet: Packet) -> Decision:
        """What the kernel does with a packet."""
        wanted = 0
        for rule in self.ordered:
            if rule.priority < wanted or "unresolved" in rule.row or not rule.matches(packet):
                continue
            if rule.action == "goto":
                wanted = int(rule.row["goto"])
            elif rule.action in _REFUSALS:
                return Decision(rule)
            elif rule.action == "lookup":
                route = self._lookup(rule, packet.dst)
                if route is not None:
                    return Decision(rule, route)
        return Decision()

    def _lookup(self, rule: Rule, dst: Address) -> Route | None:
        route = best(self.tables.get(rule.table, ()), dst)
        if route is None or route.kind == "throw":
            return None
        if route.network.prefixlen <= int(rule.row.get("suppress_prefixlen", -1)):
            return None
        group = rule.row.get("suppress_ifgroup")
        return None if group is not None and self.groups.get("".join(route.devices[:1])) == str(group) else route


def best(routes: Iterable[Route], dst: Address) -> Route | None:
    """The route of the longest prefix, of equal ones that of the lowest metric."""
    found = [route for route in routes if dst in route.network]
    return min(found, key=lambda route: (-route.network.prefixlen, route.metric), default=None)


def fib(
    rules: Sequence[Mapping[str, Any]],
    routes: Sequence[Mapping[str, Any]],
    links: Sequence[Mapping[str, Any]],
    family: Family,
) -> Fib:
    """Rules and tables of a node from its dumps. The table `local` is that of the node's addresses.

    Args:
        rules: Rows of `ip -j rule`.
        routes: Rows of `ip -d -j route show table all`.
        links: Rows of `ip -d -j address`.
        family: Which.
    """
    tables: dict[str, list[Route]] = {LOCAL: list(_own(links, family))}
    for row in routes:
        route = route_of(row, family)
        name = str(row.get("table", MAIN))
        if route is not None:
            tables.setdefault(_NUMBERS.get(name, name), []).append(route)
    groups = {str(link.get("ifname")): str(link.get("group", DEFAULT)) for link in links}
    return Fib(tuple(Rule(row, family) for row in rules), {name: tuple(rows) for name, rows in tables.items()}, groups)


def _own(links: Sequence[Mapping[str, Any]], family: Family) -> Iterator[Route]:
    for link in links:
        for info in link.get("addr_info") or ():
            if info.get("family") == INET[family] and "local" in info:
                device = str(link.get("ifname"))
                yield Route(ipaddress.ip_network(info["local"]), LOCAL, f"dev {device}", (device,))


def plain_rules(family: Family) -> tuple[Rule, ...]:
    """The rules that a kernel has by itself."""
    kept = ((0, LOCAL), (32766, MAIN), *(((32767, DEFAULT),) if family == "ipv4" else ()))
    return tuple(Rule({"priority": number, "src": "all", "table": table}, family) for number, table in kept)


def samples(whole: Range, prefixes: Iterable[Range]) -> list[Address]:
    """Addresses of a range, one of each part that no prefix tells apart: all addresses of a part fare alike.

    Args:
        whole: The range.
        prefixes: What rules and routes name.
    """
    first, last = int(whole.network_address), int(whole.broadcast_address)
    edges = {first}
    for one in prefixes:
        if one.version == whole.version:
            edges |= {int(one.network_address), int(one.broadcast_address) + 1}
    ordered = sorted(edges)
    inside = ordered[bisect_right(ordered, first) - 1 : bisect_right(ordered, last)]
    make = ipaddress.IPv4Address if whole.version == 4 else ipaddress.IPv6Address
    return [make(edge) for edge in inside]
