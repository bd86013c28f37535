"""Where packets meet rules on their way through a node: every hook of every backend, in the kernel's order. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from conformance.netfilter import ACCEPT, RETURN, End, Flow, Table, ends
from conformance.nft import ChainKey, Ruleset, base_ends, chain_key, is_compat

Layer = Literal["ip", "bridge", "netdev"]


@dataclass(frozen=True)
class Station:
    """A hook, as a packet comes to it.

    Args:
        layer: ip: of the packet; bridge: of the frame that has it; netdev: of one device.
        hook: prerouting, forward, ingress …
        iif: Device by which it came, as rules of this hook see it.
        oif: Device by which it leaves; empty before the node has routed it.
        device: Of the layer netdev.
    """

    layer: Layer
    hook: str
    iif: str = ""
    oif: str = ""
    device: str = ""

    def __str__(self) -> str:
        """`forward`, `ingress of eth0`, `forward of bridges`."""
        return f"{self.hook} of {self.device}" if self.device else f"{self.hook}{_OF.get(self.layer, '')}"


_OF: Final = {"bridge": " of bridges"}


def arriving(iif: str, port: str = "") -> tuple[Station, ...]:
    """Until a node routes a packet that comes in; `port`: of the bridge `iif`."""
    frame = (
        Station("netdev", "ingress", port, device=port),
        Station("bridge", "prerouting", port),
        Station("bridge", "input", port),
    )
    return (
        *(frame if port else ()),
        Station("netdev", "ingress", iif, device=iif),
        Station("ip", "prerouting", iif),
    )


def leaving(oif: str, port: str = "", iif: str = "") -> tuple[Station, ...]:
    """After a node has routed a packet; `port`: of the bridge `oif`."""
    frame = (
        Station("bridge", "output", "", port),
        Station("bridge", "postrouting", "", port),
        Station("netdev", "egress", "", port, device=port),
    )
    return (
        Station("ip", "postrouting", iif, oif),
        Station("netdev", "egress", "", oif, device=oif),
        *(frame if port else ()),
    )


def bridged(one: str, other: str, bridge: str, *, seen: bool) -> tuple[Station, ...]:
    """From port to port of a bridge; `seen`: hooks of the packet see it, too (bridge-nf-call-iptables)."""
    own = [Station("ip", "prerouting", bridge), Station("ip", "forward", bridge, bridge)] if seen else []
    return (
        Station("netdev", "ingress", one, device=one),
        Station("bridge", "prerouting", one),
        *own,
        Station("bridge", "forward", one, other),
        *([Station("ip", "postrouting", "", bridge)] if seen else []),
        Station("bridge", "postrouting", one, other),
        Station("netdev", "egress", "", other, device=other),
    )


@dataclass(frozen=True)
class NodeRules:
    """All rules of a node, of one IP family.

    Args:
        ruleset: Of nftables.
        tables: Of iptables, by the program that saves them.
        native: Tables of nftables with names of iptables that no such program can show.
        devices: Of each chain of nftables at a hook of devices.
    """

    ruleset: Ruleset = field(default_factory=Ruleset)
    tables: Mapping[str, Mapping[str, Table]] = field(default_factory=dict)
    native: frozenset[str] = frozenset()
    devices: Mapping[ChainKey, Sequence[str]] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Rules of each backend of iptables."""
        found = {
            name: sum(len(rules) for table in tables.values() for rules in table.chains.values())
            for name, tables in self.tables.items()
        }
        return {name: count for name, count in found.items() if count}


_INCOMPATIBLE: Final = re.compile(r"^# Table `(\w+)' is incompatible", re.MULTILINE)


def incompatible(text: str) -> frozenset[str]:
    """Tables that `iptables-save` names and does not show: nft has put something into them that it cannot say."""
    return frozenset(_INCOMPATIBLE.findall(text))


@dataclass(frozen=True)
class Met:
    """What rules do with a packet at a hook.

    Args:
        station: The hook.
        end: What happens, and by which rule.
        certain: It happens to this packet; otherwise it may, as a match is not understood.
    """

    station: Station
    end: End
    certain: bool


def traverse(rules: NodeRules, stations: tuple[Station, ...], flow: Flow) -> Iterator[Met]:
    """All that rules do with a packet but let it pass, up to the first certain thing.

    Args:
        rules: Of the node.
        stations: Hooks, in order.
        flow: The packet, as it comes.
    """
    there = {flow}
    for station in stations:
        for chain in chains(rules, station, flow):
            found: set[End] = set()
            for packet in there:
                found |= chain(replace(packet, iif=station.iif, oif=station.oif))
            passing = {end.flow for end in found if end.verdict in {ACCEPT, RETURN}}
            stopped = sorted((end for end in found if end.verdict not in {ACCEPT, RETURN}), key=lambda end: end.rule)
            yield from (Met(station, end, certain=not passing) for end in stopped)
            if not passing:
                return
            there = passing


Chain = Callable[[Flow], set[End]]

_TABLES: Final[Mapping[str, tuple[tuple[str, int], ...]]] = {
    "prerouting": (("raw", -300), ("mangle", -150), ("nat", -100)),
    "input": (("mangle", -150), ("filter", 0), ("security", 50), ("nat", 100)),
    "forward": (("mangle", -150), ("filter", 0), ("security", 50)),
    "output": (("raw", -300), ("mangle", -150), ("nat", -100), ("filter", 0), ("security", 50)),
    "postrouting": (("mangle", -150), ("nat", 100)),
}
"""Tables of iptables at each hook, with their priority (include/uapi/linux/netfilter_ipv4.h)."""


def chains(rules: NodeRules, station: Station, flow: Flow) -> list[Chain]:
    """Every chain at a hook, in the order of their priority.

    Args:
        rules: Of the node.
        station: The hook.
        flow: The packet; rules of nat are asked for the first one of a connection only.

    Of equal ones the kernel asks the one that was registered last first, and nothing that is saved says which that is:
    leftovers come first here, and who asks looks at what became of the packets.
    """
    found: list[tuple[int, Chain]] = []
    first = flow.state == "NEW"  # only the first packet of a connection meets rules of nat
    for base in rules.ruleset.bases:
        if base["hook"] != station.hook or not _sees(rules, base, station, flow):
            continue
        if base.get("type") != "nat" or first:
            found.append((int(base.get("prio", 0)), lambda packet, base=base: base_ends(rules.ruleset, base, packet)))  # type: ignore[misc]
    for program, tables in sorted(rules.tables.items(), reverse=True) if station.layer == "ip" else ():
        for name, priority in _TABLES.get(station.hook, ()):
            if name in tables and (name != "nat" or first):
                found.append((priority, _saved(program, tables, name, station.hook.upper())))
    return [chain for _, chain in sorted(found, key=lambda one: one[0])]


def _saved(program: str, tables: Mapping[str, Table], name: str, chain: str) -> Chain:
    def decide(packet: Flow) -> set[End]:
        found = ends(tables, name, chain, packet)
        return {replace(end, rule=f"{program}, {end.rule}" if end.rule else "") for end in found}

    return decide


_BUILT_IN: Final = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"})


def _sees(rules: NodeRules, base: Mapping[str, object], station: Station, flow: Flow) -> bool:
    """Whether a base chain is at a hook, for a packet of this family; chains of iptables-nft are in its own text."""
    family, devices = str(base["family"]), rules.devices.get(chain_key(base, str(base["name"])), ())
    if station.layer == "netdev":
        return family in {"netdev", "inet"} and station.device in devices
    if station.layer == "bridge":
        return family == "bridge"
    if family not in {"inet", {"ipv4": "ip", "ipv6": "ip6"}[flow.family]} or devices:
        return False
    return not is_compat(base) or base["name"] not in _BUILT_IN or base["table"] in rules.native
