"""Does a packet get there: every pair of sites, protocol and direction."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from conformance.asked import name_of, unreported
from conformance.checks.streams import loss, one_way
from conformance.context import Context
from conformance.inventory import Site
from conformance.legs import (
    answered_by,
    any_ok,
    broken,
    census,
    control,
    evidence_of,
    failed,
    leg_name,
    passed,
    reached,
    recorded,
    unanswered,
    where,
)
from conformance.model import Check, Judge, Verdict
from conformance.pairs import mesh_pairs, node_pairs
from harness.model.records import Exchange, Leg
from harness.probes.plan import ExchangeProbe, Probe

NM = 'Kubernetes documentation, "The Kubernetes network model"'
TRANSPORTS = ("tcp", "udp")

Pair = tuple[Site, Site]


def reach_legs(
    context: Context, purpose: str, pairs: Iterable[Pair], protos: Iterable[str] = TRANSPORTS
) -> tuple[list[Leg], list[Exchange | None]]:
    """One leg per pair and protocol: did anybody answer?"""
    wanted = [(src, dst, proto) for src, dst in pairs for proto in protos]
    seen = [context.exchange(purpose, src.name, dst.name, proto) for src, dst, proto in wanted]
    legs = [
        reached(context, one, f"{src.name}>{dst.name}/{proto}")
        for (src, dst, proto), one in zip(wanted, seen, strict=True)
    ]
    return legs, seen


def _reach(purpose: str, pairs: Callable[[Context], tuple[Pair, ...]], twin: str, twin_text: str, what: str) -> Judge:
    """A judge for "these pairs reach each other", with a twin on a path that is not under test.

    Between pods, who answered is a requirement of its own (`model.identity`); nodes have no other that asks for it.
    """

    def judge(context: Context) -> Verdict:
        wanted = pairs(context)
        legs, seen = reach_legs(context, purpose, wanted)
        if purpose != "mesh":
            legs = [
                leg if one is None else answered_by(context, one, leg, one.dst)
                for one, leg in zip(seen, legs, strict=True)
            ]
        return Verdict(
            legs=tuple(legs),
            controls=(control("P1", any_ok(context.exchanges.get(twin, ())), twin_text),),
            evidence=evidence_of(seen, legs),
            total=2 * len(wanted),
            summary=f"{len(wanted)} {what}, TCP and UDP, answered",
        )

    return judge


def same_node(context: Context) -> tuple[Pair, ...]:
    """Ordered pairs of pods on one node."""
    return mesh_pairs(context.inventory, cross=False)


def cross_node(context: Context) -> tuple[Pair, ...]:
    """Ordered pairs of pods on different nodes, as the plan has them."""
    return mesh_pairs(context.inventory, cross=True)


def node_to_pod(*, local: bool) -> Callable[[Context], tuple[Pair, ...]]:
    """From each node's host-network pod to the pods of that node, or of all others."""
    return lambda context: tuple(
        (host, pod)
        for host in context.inventory.hosts
        for pod in context.inventory.pods
        if (host.node == pod.node) is local
    )


def pod_to_node(*, local: bool) -> Callable[[Context], tuple[Pair, ...]]:
    """From each pod to the host-network pod of its node, or of all others."""
    forward = node_to_pod(local=local)
    return lambda context: tuple((pod, host) for host, pod in forward(context))


def protocols(context: Context) -> Verdict:
    """ICMP echo between all pairs; TCP is the sibling that must work on at least one of them."""
    legs, seen = reach_legs(context, "mesh", same_node(context) + cross_node(context), ("icmp",))
    tcp = [one for one in context.exchanges.get("mesh", ()) if one.proto == "tcp"]
    return Verdict(
        tuple(legs),
        (control("P2", any_ok(tcp), "TCP works between some of the same pods"),),
        evidence_of(seen, legs),
        summary=f"{len(legs)} pairs answered an ICMP echo with the right id and nonce",
    )


def ports(context: Context) -> Verdict:
    """A list of ports between one pair of pods per node pair, each answered by the pod that was dialled."""
    seen = context.exchanges.get("ports", ())
    legs = [_port_leg(context, one) for one in seen]
    bad = [one for one, leg in zip(seen, legs, strict=True) if leg.status == "fail"]
    legs += unreported(context, "ports", _port_name)
    pairs = node_pairs(context.inventory)
    return Verdict(
        tuple(legs),
        (
            control("P2", any_ok(context.exchanges.get("mesh", ())), "port 8080 works between some of the same pods"),
            census(len({(one.src, one.dst) for one in seen}), len(pairs), "node pairs"),
        ),
        evidence_of(bad, legs),
        summary=f"{len(legs)} port and protocol combinations between {len(pairs)} node pairs answered",
    )


def _port_leg(context: Context, one: Exchange) -> Leg:
    leg = reached(context, one, f"{leg_name(one)}/{one.dial.rpartition(':')[2]}")
    return answered_by(context, one, leg, one.dst)


def _port_name(src: str, probe: Probe) -> str:
    port = f"/{probe.target.port}" if isinstance(probe, ExchangeProbe) else ""
    return name_of(src, probe) + port


def hops(context: Context) -> Verdict:
    """TTL at the receiver, which starts at 64: the variant's constant, or at least equal in both directions."""
    promised = context.expect.hops
    legs = [
        _hops_leg(context, pair, expected, label)
        for pairs, expected, label in (
            (same_node(context), promised.same_node, "same node"),
            (cross_node(context), promised.cross_node, "cross node"),
        )
        for pair in pairs
    ]
    seen = sum(leg.unit == "ttl" for leg in legs)
    return Verdict(
        tuple(legs),
        (control("P4", seen > 0, f"{seen} of {len(legs)} pairs reported a TTL"),),
        total=len(legs),
        summary=f"{seen} pairs have the variant's number of hops: TTL "
        f"{promised.same_node} same node, {promised.cross_node} cross node",
    )


def _hops_leg(context: Context, pair: Pair, expected: int | None, label: str) -> Leg:
    """One pair's TTL, as the receiver read it; a sender cannot know it."""
    src, dst = pair
    there, back = (context.exchange("mesh", one.name, other.name, "tcp") for one, other in (pair, pair[::-1]))
    leg = f"{src.name}>{dst.name}/ttl"
    if there is None or there.outcome != "ok":
        return unanswered(context, there, leg, "its number of hops")
    if there.ttl is None:
        return broken(leg, f"{dst.name} on {dst.node} did not report the TTL of a packet from {src.name}", "missing")
    wanted = expected if expected is not None else (back.ttl if back is not None else None)
    if wanted is None:
        return recorded(leg, there.ttl, f"TTL {there.ttl} at {dst.name}", "ttl")
    if there.ttl == wanted:
        return passed(leg, wanted, there.ttl, "ttl")
    text = (
        f"a packet from {where(src)} arrived at {where(dst)} with TTL {there.ttl}, not {wanted}"
        f" ({label}): its path has {64 - there.ttl} hops, not {64 - wanted}"
    )
    return failed(leg, "wrong-value", text, wanted, there.ttl, "ttl")


def integrity(context: Context) -> Verdict:
    """1 MiB each way, same SHA-256 at both ends."""
    legs = []
    seen = context.exchanges.get("integrity", ())
    for one in seen:
        leg = leg_name(one)
        if one.outcome == "ok" and one.intact:
            legs.append(passed(leg, one.sent, one.received, "B"))
        elif one.outcome in {"ok", "corrupt"}:
            legs.append(
                failed(
                    leg,
                    "corrupt",
                    f"{one.sent} B from {where(context.site(one.src))} arrived changed at "
                    f"{where(context.site(one.dst))} ({one.received} B)",
                    "sha256 equal",
                    "sha256 differs",
                )
            )
        else:
            legs.append(reached(context, one, leg))
    legs += unreported(context, "integrity")
    return Verdict(
        tuple(legs),
        (
            control("P2", any_ok(context.exchanges.get("integrity-small", ())), "1 KiB arrives unchanged"),
            census(len(seen), len(integrity_pairs(context)), "pairs"),
        ),
        evidence_of(seen, legs),
        summary=f"1 MiB between {len(seen)} pairs of pods arrived unchanged",
    )


def integrity_pairs(context: Context) -> tuple[Pair, ...]:
    """One pair per node pair."""
    return node_pairs(context.inventory)


_CAPTURE = "tcpdump -ni any host {destination}  # on the source node, then on each hop"

CHECKS: tuple[Check, ...] = (
    Check(
        "model.pod-pod.same-node", "all pods of one node reach each other", "M", "B1",
        _reach("mesh", same_node, "self", "a pod reaches itself", "ordered pairs on the same node"),
        source=NM, after=("node.underlay",),
        causes=("bridge port isolated or detached", "FORWARD drops bridged packets (bridge-nf-call-iptables)"),
        next=("bridge -d link show", "iptables-save -c | grep -A3 FORWARD", _CAPTURE),
    ),
    Check(
        "model.pod-pod.cross-node", "all pods reach the pods of other nodes", "M", "B1",
        _reach("mesh", cross_node, "self", "a pod reaches itself", "ordered pairs on different nodes"),
        source=NM, gates=("multi",), after=("node.underlay",),
        causes=("route to the other node's pod CIDR missing or wrong", "FDB or neighbour entry of the peer's tunnel",
                "forwarding off", "a filter on the way"),
        next=("ip route get {destination} from {source} iif {bridge}", "bridge fdb show dev {overlay}",
              "ip neigh show dev {overlay}", _CAPTURE),
    ),
    Check(
        "model.ports", "reachability does not depend on the port", "M", "B1", ports,
        source=f"{NM}: pods are like VMs", gates=("multi",), after=("model.pod-pod.cross-node",),
        causes=("security group", "a hostPort or NodePort rule that matches too much"),
        next=("nft list ruleset", "iptables-save -c"),
    ),
    Check(
        "model.protocols", "ICMP echo works between pods", "S", "B1", protocols,
        source="RFC 1122 §3.2.2.6", after=("node.underlay",),
        causes=("ICMP filter",), next=("nstat -az IcmpInEchos IcmpOutEchoReps", "nft list ruleset"),
    ),
    Check(
        "model.one-way", "each direction between nodes works on its own", "S", "B1", one_way,
        source=NM, gates=("multi",), after=("node.underlay",),
        causes=("asymmetric filter", "rp_filter"), next=("nstat -az TcpExtIPReversePathFilter", "nft list ruleset"),
    ),
    Check(
        "model.loss", "no datagram between nodes is lost", "S", "B1", loss,
        gates=("multi",), after=("node.underlay",),
        causes=("queue or policer", "offload"), next=("ip -s link", "tc -s qdisc"),
    ),
    Check(
        "model.hops", "packets take the variant's number of hops in both directions", "S", "B1", hops,
        source="RFC 1812 §5.3.1", after=("node.underlay",),
        causes=("detour over a third node", "an extra router", "double encapsulation"),
        next=("ip route get {destination}", "traceroute -n {destination}"),
    ),
    Check(
        "model.integrity", "payload arrives unchanged", "M", "B2", integrity,
        source="RFC 9293 §3.1", gates=("multi",), after=("model.pod-pod.cross-node",),
        causes=("checksum offload over the tunnel",),
        next=("ethtool -K {overlay} tx-checksum-ip-generic off", "nstat -az 'Tcp*CsumErrors' 'UdpInCsumErrors'"),
    ),
    Check(
        "model.node-pod.local", "node agents reach every pod of their node", "M", "B1",
        _reach("host", node_to_pod(local=True), "self", "a pod reaches itself", "legs from a node to its own pods"),
        source=NM, gates=("hosts",), after=("node.underlay",),
        causes=("bridge address lost", "a policy controller's rule"),
        next=("ip route get {destination}", "ip addr show {bridge}"),
    ),
    Check(
        "model.node-pod.remote", "nodes reach the pods of other nodes", "M", "B1",
        _reach("host", node_to_pod(local=False), "self", "a pod reaches itself", "legs from a node to remote pods"),
        source=NM, gates=("multi", "hosts"), after=("node.underlay",),
        causes=("no route back to the tunnel address", "filter in INPUT"),
        next=("ip route get {destination}  # at both ends",),
    ),
    Check(
        "model.pod-node.own", "pods reach their own node", "M", "B1",
        _reach("host", pod_to_node(local=True), "self", "a pod reaches itself", "legs from a pod to its node"),
        source=NM, gates=("hosts",), after=("node.underlay",), causes=("filter in INPUT", "bridge address lost"),
        next=("iptables-save -c | grep INPUT", "ip addr show {bridge}"),
    ),
    Check(
        "model.pod-node.remote", "pods reach all other nodes", "M", "B1",
        _reach("host", pod_to_node(local=False), "self", "a pod reaches itself", "legs from a pod to other nodes"),
        source=NM, gates=("multi", "hosts"), after=("node.underlay",), causes=("forwarding off", "no route back"),
        next=("ip route get {destination}  # at both ends", "sysctl net.ipv4.ip_forward"),
    ),
)  # fmt: skip
