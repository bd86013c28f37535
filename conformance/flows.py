"""The fixed set of packets that the rules of every node are asked about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conformance.context import Context
from conformance.dumps import rows
from conformance.inventory import NodeFact
from conformance.maths import first_host
from conformance.netfilter import ACCEPT, DNAT, DROP, MASQUERADE, REJECT, SNAT, Flow, parse, verdicts
from conformance.nft import Ruleset, nft_verdicts, of_iptables, ruleset
from harness.model.family import Family
from harness.model.world import addresses

NamedFlow = tuple[str, Flow]


def outside(family: Family) -> tuple[str, ...]:
    """Addresses of the outside world: a public one, one next door, and one behind the router."""
    return tuple(str(address.ip) for address in addresses(family)[:3])


def _devices(context: Context) -> tuple[str, str]:
    """The pods' device of a node, and the one that leads to other nodes."""
    return context.expect.bridge or "", context.expect.overlay_device or context.spec.cluster_nic


def _local(context: Context, node: NodeFact) -> str:
    """Address of a pod of the node, or what one could have."""
    pods = context.inventory.on(node.name)
    if pods:
        return pods[0].ip
    return first_host(node.pod_cidr) if node.pod_cidr else ""


def pod_to_pod(context: Context, node: NodeFact) -> Iterator[NamedFlow]:
    """Packets between pods, as the node sees them: leaving, arriving and staying."""
    bridge, away = _devices(context)
    mine = context.inventory.on(node.name)[:2]
    others = [pod for pod in context.inventory.pods if pod.node != node.name]
    for other in others[:6]:
        for own in mine[:1]:
            for proto in ("tcp", "udp"):
                yield f"{own.name} to {other.name} leaving", Flow(own.ip, other.ip, bridge, away, proto)
                yield f"{other.name} to {own.name} arriving", Flow(other.ip, own.ip, away, bridge, proto)
    if len(mine) > 1:
        yield "same node", Flow(mine[0].ip, mine[1].ip, bridge, bridge)
        yield "same node back", Flow(mine[1].ip, mine[0].ip, bridge, bridge)


def pod_to_outside(context: Context, node: NodeFact) -> Iterator[NamedFlow]:
    """Packets of the node's pods to the outside world."""
    bridge, _ = _devices(context)
    own = _local(context, node)
    for address in outside(context.family) if own else ():
        for proto in ("tcp", "udp", "icmp"):
            yield f"to {address}", Flow(own, address, bridge, context.spec.cluster_nic, proto)


def node_to_outside(context: Context, node: NodeFact) -> Iterator[NamedFlow]:
    """Packets of the node itself: they need no translation."""
    for address in outside(context.family):
        yield f"node to {address}", Flow(node.address, address, "", context.spec.cluster_nic)


def rules(context: Context, node: str) -> tuple[Any, Any]:
    """The saved rules of a node: what iptables and nft said."""
    return context.attempt("node", node, "rules-iptables"), context.attempt("node", node, "rules-nft")


def decisions(context: Context, node: str, kind: str, hook: str, flow: Flow) -> set[str] | None:
    """What the saved rules of a node may do with a packet; None when they were not read.

    Args:
        context: The run.
        node: Whose rules.
        kind: filter or nat.
        hook: forward or postrouting.
        flow: The packet.
    """
    text, nft = rules(context, node)
    if not isinstance(text, str) and (not rows(nft) or of_iptables(rows(nft), flow)):
        return None  # nft shows that iptables has rules for this packet, and not what they are
    return decided(text if isinstance(text, str) else None, nft_rules(context, node), kind, hook, flow)


def nft_rules(context: Context, node: str) -> Ruleset:
    """Rules of nft of a node, read once for all packets that are asked about; none where they were not read.

    Args:
        context: The run.
        node: Whose rules.
    """
    known: dict[str, Ruleset] = context.memo.setdefault("nft", {})
    if node not in known:
        known[node] = ruleset(rows(rules(context, node)[1]))
    return known[node]


def decided(text: str | None, nft: Ruleset, kind: str, hook: str, flow: Flow) -> set[str]:
    """What rules may do with a packet.

    Args:
        text: Of iptables, as it saves them; None where it has none.
        nft: Of nft.
        kind: filter or nat.
        hook: forward or postrouting.
        flow: The packet.
    """
    found = verdicts(parse(text), kind, hook.upper(), flow) if text is not None else {ACCEPT}
    more = nft_verdicts(nft, kind, hook, flow)
    found = (found | more) - {ACCEPT} if ACCEPT not in found or ACCEPT not in more else found | more
    return found or {ACCEPT}


def translated(found: set[str]) -> bool:
    """True when the rules certainly change an address."""
    return bool(found & {MASQUERADE, SNAT, DNAT}) and ACCEPT not in found


def dropped(found: set[str]) -> bool:
    """True when the rules certainly stop the packet."""
    return bool(found & {DROP, REJECT}) and ACCEPT not in found
