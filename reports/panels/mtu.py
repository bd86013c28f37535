"""Who has which MTU, where the difference goes, and which sizes really pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from harness.model.family import TITLE, Family, family_of_dial
from harness.model.records import Result, Rung
from harness.model.topology import Topology, TopologyNode
from reports import marks
from reports.families import families_of, named
from reports.model import Fact, Ladder, Mark, Mtu, MtuRow, RungCell, TunnelSum
from reports.panels.diagram import TUNNELS, bridges, overlays, pod_interface, underlay_mtu
from reports.text import listing, natural, unique

OVERHEADS: Final = {
    50: (("inner Ethernet", 14), ("VXLAN", 8), ("UDP", 8), ("outer IPv4", 20)),
    70: (("inner Ethernet", 14), ("VXLAN", 8), ("UDP", 8), ("outer IPv6", 40)),
    20: (("outer IPv4", 20),),
    60: (("outer IPv4", 20), ("UDP", 8), ("WireGuard", 32)),
    80: (("outer IPv6", 40), ("UDP", 8), ("WireGuard", 32)),
}
"""What an encapsulation's bytes are (RFC 7348 §5, RFC 2003 §3.1, WireGuard §5.4.6)."""


AGREE: Final = "mtu.agree"
"""The requirement that all links of a node's pods suit its tunnels."""


def mtu(topology: Topology | None, rungs: list[Rung], results: Iterable[Result] = ()) -> Mtu | None:
    """The MTU panel; None without MTUs and without ladders.

    Args:
        topology: Configured MTUs.
        rungs: Sizes tried.
        results: Tell whether the variant declares that its links do not agree.
    """
    agree = [one for one in results if one.id == AGREE]
    declared = "deviation" in {reason for one in agree for reason in (one.reason, *(leg.reason for leg in one.legs))}
    nodes = sorted(topology.nodes, key=lambda node: natural(node.name)) if topology else []
    underlay = min((underlay_mtu(node) for node in nodes if underlay_mtu(node)), default=0)
    pod = min((size for node in nodes for size in _pod_mtus(node)), default=0)
    if not rungs and not (underlay and pod):
        return None
    overhead = max(0, underlay - pod) if underlay and pod else 0
    climbed = [rung for rung in rungs if rung.df and rung.purpose == "ladder"]
    there = {rung.family for rung in climbed}
    both = families_of(there)
    tunnels = _tunnels(nodes, underlay, both or (("ipv6",) if there == {"ipv6"} else ()))
    limits = {family: min(pod, one.sum[2]) for family, one in tunnels.items()}
    ladders = tuple(_ladders(climbed, pod, both, limits))
    return Mtu(
        sum=(underlay, overhead, pod),
        parts=_parts(overhead),
        header=48 if there == {"ipv6"} else 28,
        tunnels=tuple(tunnels.values()),
        rows=tuple(_row(node, declared=declared) for node in nodes),
        shown=_first_of_each_kind(ladders),
        ladders=ladders,
        sizes=tuple(sorted({rung.size for ladder in ladders for rung in ladder.rungs})),
    )


def _parts(overhead: int) -> tuple[Fact, ...]:
    parts = OVERHEADS.get(overhead, (("encapsulation", overhead),) if overhead else ())
    return tuple(Fact(name, str(size)) for name, size in parts)


def _tunnels(nodes: list[TopologyNode], underlay: int, families: tuple[Family, ...]) -> dict[Family, TunnelSum]:
    """What is left by tunnels of which each carries its own family; nothing where IPv4 is alone, or carries both."""
    own = {family_of_dial(link.local): link for link in (overlays(nodes[0]) if nodes else ()) if link.local}
    if not underlay or not all(family in own for family in families):
        return {}
    found: dict[Family, TunnelSum] = {}
    for family in families:
        overhead = TUNNELS.get(own[family].kind, {}).get(family, 0)
        left = underlay - overhead
        ping = left - (28 if family == "ipv4" else 48)
        found[family] = TunnelSum(TITLE[family], (underlay, overhead, left), _parts(overhead), ping)
    return found


def _first_of_each_kind(ladders: tuple[Ladder, ...]) -> tuple[Ladder, ...]:
    kinds: dict[tuple[str, str], Ladder] = {}
    for one in ladders:
        kinds.setdefault((one.family, one.kind), one)
    return tuple(kinds.values())


def _pod_mtus(node: TopologyNode) -> list[int]:
    found = (pod_interface(pod) for pod in node.pods if not pod.host_network)
    return [link.mtu for link in found if link and link.mtu]


def _row(node: TopologyNode, *, declared: bool) -> MtuRow:
    wire, tunnels, pods = underlay_mtu(node), overlays(node), _pod_mtus(node)
    links = [Fact("underlay", str(wire or "unknown"))]
    links += [Fact(tunnel.name, str(tunnel.mtu)) for tunnel in tunnels]
    links += [Fact(bridge.name, str(bridge.mtu)) for bridge in bridges(node)]
    veths = unique(str(link.mtu) for link in node.interfaces if link.kind == "veth" and link.master)
    if veths:
        links.append(Fact("veth", listing(veths)))
    links.append(Fact("pods", listing(unique(map(str, pods))) or "none"))
    if not pods or not wire:
        return MtuRow(node.name, tuple(links), "", marks.UNTESTED)
    inner = min(pods)
    limit = min((tunnel.mtu for tunnel in tunnels), default=wire)
    fits = inner <= limit and len(set(pods)) == 1
    sign = f"{wire} − {wire - inner} = {inner}" if inner <= wire else f"{inner} > {wire}"
    wrong = marks.TOO_LONG if declared else marks.FAIL
    return MtuRow(node.name, tuple(links), sign, marks.PASS if fits else wrong)


def _ladders(rungs: list[Rung], pod: int, both: tuple[Family, ...], limits: Mapping[Family, int]) -> list[Ladder]:
    """One ladder per ordered pair and family, cross-node pairs first: they are what an encapsulation limits."""
    by_pair: dict[tuple[str, str, Family], list[Rung]] = {}
    for rung in rungs:
        by_pair.setdefault((rung.src, rung.dst, rung.family), []).append(rung)
    ladders: list[Ladder] = []
    for (src, dst, own), found in by_pair.items():
        first, family = found[0], named(own, both)
        same = first.src_node == first.dst_node
        expected = pod if same else limits.get(own, pod)  # within a node no tunnel takes anything
        by_size = {rung.size: rung for rung in sorted(found, key=lambda rung: rung.size)}
        ladders.append(
            Ladder(
                src=f"{src} ({first.src_node})" if first.src_node else src,
                dst=f"{dst} ({first.dst_node})" if first.dst_node else dst,
                kind="same node" if same else "cross node",
                rungs=tuple(_rung(rung, expected) for rung in by_size.values()),
                largest=max((rung.size for rung in by_size.values() if rung.outcome == "ok"), default=0),
                expected=expected,
                family=family,
            )
        )
    return sorted(ladders, key=lambda one: (one.family, one.kind == "same node", natural(one.src), natural(one.dst)))


def _rung(rung: Rung, expected: int) -> RungCell:
    """Passing up to the MTU and a clear refusal above it are both as they should be; silence never is."""
    fits = not expected or rung.size <= expected
    told = f", MTU {rung.reported_mtu}" if rung.reported_mtu else ""
    if rung.outcome == "ok":
        return RungCell(rung.size, marks.REACHED if fits else marks.UNEXPECTED, "passes")
    if rung.outcome == "msgsize":
        mark = Mark("note", "⊘", "refused, as expected") if not fits else marks.BROKEN
        return RungCell(rung.size, mark, f"refused: EMSGSIZE{told}")
    word = "lost without an error" if rung.outcome in ("timeout", "lost") else rung.outcome
    return RungCell(rung.size, marks.BROKEN, f"{word}{told}")
