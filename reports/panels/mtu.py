"""Who has which MTU, where the difference goes, and which sizes really pass."""

from __future__ import annotations

from typing import Final

from harness.model.records import Rung
from harness.model.topology import Topology, TopologyNode
from reports import marks
from reports.model import Fact, Ladder, Mark, Mtu, MtuRow, RungCell
from reports.panels.diagram import bridges, overlay, pod_interface, underlay_mtu
from reports.text import listing, natural, unique

OVERHEADS: Final = {
    50: (("inner Ethernet", 14), ("VXLAN", 8), ("UDP", 8), ("outer IPv4", 20)),
    70: (("inner Ethernet", 14), ("VXLAN", 8), ("UDP", 8), ("outer IPv6", 40)),
    20: (("outer IPv4", 20),),
    60: (("outer IPv4", 20), ("UDP", 8), ("WireGuard", 32)),
    80: (("outer IPv6", 40), ("UDP", 8), ("WireGuard", 32)),
}
"""What an encapsulation's bytes are (RFC 7348 §5, RFC 2003 §3.1, WireGuard §5.4.6)."""


def mtu(topology: Topology | None, rungs: list[Rung]) -> Mtu | None:
    """The MTU panel; None without MTUs and without ladders.

    Args:
        topology: Configured MTUs.
        rungs: Sizes tried.
    """
    nodes = sorted(topology.nodes, key=lambda node: natural(node.name)) if topology else []
    underlay = min((underlay_mtu(node) for node in nodes if underlay_mtu(node)), default=0)
    pod = min((size for node in nodes for size in _pod_mtus(node)), default=0)
    if not rungs and not (underlay and pod):
        return None
    overhead = max(0, underlay - pod) if underlay and pod else 0
    parts = OVERHEADS.get(overhead, (("encapsulation", overhead),) if overhead else ())
    ladders = tuple(_ladders([rung for rung in rungs if rung.df and rung.purpose == "ladder"], pod))
    return Mtu(
        sum=(underlay, overhead, pod),
        parts=tuple(Fact(name, str(size)) for name, size in parts),
        rows=tuple(_row(node) for node in nodes),
        shown=_first_of_each_kind(ladders),
        ladders=ladders,
        sizes=tuple(sorted({rung.size for ladder in ladders for rung in ladder.rungs})),
    )


def _first_of_each_kind(ladders: tuple[Ladder, ...]) -> tuple[Ladder, ...]:
    kinds: dict[str, Ladder] = {}
    for one in ladders:
        kinds.setdefault(one.kind, one)
    return tuple(kinds.values())


def _pod_mtus(node: TopologyNode) -> list[int]:
    found = (pod_interface(pod) for pod in node.pods if not pod.host_network)
    return [link.mtu for link in found if link and link.mtu]


def _row(node: TopologyNode) -> MtuRow:
    wire, tunnel, pods = underlay_mtu(node), overlay(node), _pod_mtus(node)
    links = [Fact("underlay", str(wire or "unknown"))]
    if tunnel:
        links.append(Fact(tunnel.name, str(tunnel.mtu)))
    links += [Fact(bridge.name, str(bridge.mtu)) for bridge in bridges(node)]
    veths = unique(str(link.mtu) for link in node.interfaces if link.kind == "veth" and link.master)
    if veths:
        links.append(Fact("veth", listing(veths)))
    links.append(Fact("pods", listing(unique(map(str, pods))) or "none"))
    if not pods or not wire:
        return MtuRow(node.name, tuple(links), "", marks.UNTESTED)
    inner = min(pods)
    limit = tunnel.mtu if tunnel else wire
    fits = inner <= limit and len(set(pods)) == 1
    sign = f"{wire} − {wire - inner} = {inner}" if inner <= wire else f"{inner} > {wire}"
    return MtuRow(node.name, tuple(links), sign, marks.PASS if fits else marks.FAIL)


def _ladders(rungs: list[Rung], expected: int) -> list[Ladder]:
    """One ladder per ordered pair, cross-node pairs first: they are what an encapsulation limits."""
    by_pair: dict[tuple[str, str], list[Rung]] = {}
    for rung in rungs:
        by_pair.setdefault((rung.src, rung.dst), []).append(rung)
    ladders: list[Ladder] = []
    for (src, dst), found in by_pair.items():
        first = found[0]
        by_size = {rung.size: rung for rung in sorted(found, key=lambda rung: rung.size)}
        ladders.append(
            Ladder(
                src=f"{src} ({first.src_node})" if first.src_node else src,
                dst=f"{dst} ({first.dst_node})" if first.dst_node else dst,
                kind="same node" if first.src_node == first.dst_node else "cross node",
                rungs=tuple(_rung(rung, expected) for rung in by_size.values()),
                largest=max((rung.size for rung in by_size.values() if rung.outcome == "ok"), default=0),
                expected=expected,
            )
        )
    return sorted(ladders, key=lambda one: (one.kind == "same node", natural(one.src), natural(one.dst)))


def _rung(rung: Rung, expected: int) -> RungCell:
    """Passing up to the MTU and a clear refusal above it are both as they should be; silence never is."""
    fits = not expected or rung.size <= expected
    told = f", reported MTU {rung.reported_mtu}" if rung.reported_mtu else ""
    if rung.outcome == "ok":
        return RungCell(rung.size, marks.REACHED if fits else marks.UNEXPECTED, "passes")
    if rung.outcome == "msgsize":
        mark = Mark("note", "⊘", "refused, as expected") if not fits else marks.BROKEN
        return RungCell(rung.size, mark, f"refused: EMSGSIZE{told}")
    word = "lost without an error" if rung.outcome in ("timeout", "lost") else rung.outcome
    return RungCell(rung.size, marks.BROKEN, f"{word}{told}")
