"""Does a packet get there: every pair of sites, protocol and direction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from conformance.context import Context
from conformance.dumps import reason
from conformance.inventory import Site
from conformance.legs import (
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
    where,
)
from conformance.model import Check, Judge, Verdict
from conformance.pairs import mesh_pairs, node_pairs
from harness.model.family import Family, host_of
from harness.model.records import Burst, Exchange, Leg

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
    """A judge for "these pairs reach each other", with a twin on a path that is not under test."""

    def judge(context: Context) -> Verdict:
        wanted = pairs(context)
        legs, seen = reach_legs(context, purpose, wanted)
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
    """A list of ports between one pair of pods per node pair."""
    seen = context.exchanges.get("ports", ())
    legs = [
        reached(context, one, leg_name(one)).model_copy(
            update={"leg": f"{leg_name(one)}/{one.dial.rpartition(':')[2]}"}
        )
        for one in seen
    ]
    pairs = node_pairs(context.inventory)
    return Verdict(
        tuple(legs),
        (
            control("P2", any_ok(context.exchanges.get("mesh", ())), "port 8080 works between some of the same pods"),
            census(len({(one.src, one.dst) for one in seen}), len(pairs), "node pairs"),
        ),
        evidence_of(seen, [leg.model_copy(update={"leg": leg.leg.rpartition("/")[0]}) for leg in legs]),
        summary=f"{len(legs)} port and protocol combinations between {len(pairs)} node pairs answered",
    )


def _burst_legs(bursts: Iterable[Burst], judge: Callable[[Burst, str], Leg]) -> list[Leg]:
    legs = []
    for one in bursts:
        leg = f"{one.src}>{one.dst}/udp"
        if one.received is None:
            legs.append(broken(leg, f"the count at {one.dst} is not known: {one.detail or one.outcome}"))
        else:
            legs.append(judge(one, leg))
    return legs


def one_way(context: Context) -> Verdict:
    """Each direction delivers on its own; no reply is needed, so a broken way back does not hide a working one."""

    def judge(one: Burst, leg: str) -> Leg:
        if one.received:
            return passed(leg, f"1..{one.sent}", one.received, "count")
        src, dst = where(context.inventory.by_name.get(one.src), one.src), where(context.site(one.dst), one.dst)
        return failed(
            leg,
            "lost",
            f"none of {one.sent} datagrams from {src} arrived at {dst}; the other direction is judged on its own",
            f"1..{one.sent}",
            0,
            "count",
        )

    seen = context.bursts.get("one-way", ())
    return Verdict(
        tuple(_burst_legs(seen, judge)),
        (
            control(
                "P1",
                any_ok(one for one in context.exchanges.get("self", ()) if one.proto == "udp"),
                "UDP works inside a pod",
            ),
            census(len(seen), len(node_pairs(context.inventory)), "node pairs"),
        ),
        summary=f"{len(seen)} directions between nodes worked on their own",
    )


def loss(context: Context) -> Verdict:
    """First-try datagrams, counted where they arrive."""

    def judge(one: Burst, leg: str) -> Leg:
        lost = one.sent - (one.received or 0)
        if lost <= 0:
            return passed(leg, 0, lost, "count")
        full = socket_overflows(context, one.dst)
        arrived, expected = udp_arrivals(context, one.dst)
        if full >= lost or arrived >= expected > 0:
            late = f"{one.dst} but its socket was full" if full else f"the kernel of {one.dst}but were counted too late"
            text = f"{lost} of {one.sent} datagrams reached {late}: a busy machine"
            return recorded(leg, lost, text, "count")
        src, dst = where(context.inventory.by_name.get(one.src), one.src), where(context.site(one.dst), one.dst)
        return failed(leg, "lost", f"{lost} of {one.sent} datagrams from {src} to {dst} were lost", 0, lost, "count")

    seen = context.bursts.get("loss", ())
    total = sum(one.sent for one in seen)
    return Verdict(
        tuple(_burst_legs(seen, judge)),
        (
            control("P1", any_ok(context.exchanges.get("self", ())), "a pod reaches itself"),
            census(len(seen), len(node_pairs(context.inventory)), "node pairs"),
        ),
        summary=f"{total} datagrams between {len(seen)} node pairs, none lost",
    )


def socket_overflows(context: Context, pod: str) -> int:
    """Datagrams that arrived at a pod during the mesh and found a full socket (Udp: RcvbufErrors)."""
    return _rise(context, pod, f"{_UDP[context.family]}.RcvbufErrors")


def udp_arrivals(context: Context, pod: str) -> tuple[int, int]:
    """Datagrams that a pod's kernel delivered during the mesh (Udp: InDatagrams), and how many there should be.

    An oracle beside the responder's own count: requests to the pod, answers to its requests, and all streams. Every
    retry is counted as one more, so that a retry cannot make up for a lost datagram.
    """
    ip = context.site(pod).ip
    talk = [one for group in context.exchanges.values() for one in group if one.batch == "B1" and one.proto == "udp"]
    own = {pod, "localhost"}
    inside = [one for one in talk if one.src == pod and one.dst in own]
    asked = [one for one in talk if one.dst == pod and one.dial.startswith(f"{host_of(ip)}:") and one.src != pod]
    answers = [one for one in talk if one.src == pod and one.dst not in own and one.outcome == "ok"]
    streams = [one for group in context.bursts.values() for one in group if one.dst == pod]
    expected = sum(2 * one.attempts for one in inside) + sum(one.attempts for one in (*asked, *answers))
    return _rise(context, pod, f"{_UDP[context.family]}.InDatagrams"), expected + sum(one.sent for one in streams)


_UDP: Mapping[Family, str] = {"ipv4": "Udp", "ipv6": "Udp6"}
"""Groups of counters: /proc/net/snmp, and /proc/net/snmp6."""


def _rise(context: Context, pod: str, counter: str) -> int:
    read: list[Any] = [context.batched_dumps.get((batch, "pod", pod, "counters")) for batch in ("B0", "B1")]
    if any(map(reason, read)):
        return 0
    before, after = read
    return int(after.get(counter, 0)) - int(before.get(counter, 0))


def hops(context: Context) -> Verdict:
    """TTL at the receiver, which starts at 64: the variant's constant, or at least equal in both directions."""
    legs: list[Leg] = []
    classes = ((same_node(context), context.expect.hops.same_node, "same node"),
               (cross_node(context), context.expect.hops.cross_node, "cross node"))  # fmt: skip
    seen = 0
    for pairs, expected, label in classes:
        for src, dst in pairs:
            there = context.exchange("mesh", src.name, dst.name, "tcp")
            back = context.exchange("mesh", dst.name, src.name, "tcp")
            if there is None or there.ttl is None:
                continue
            seen += 1
            leg = f"{src.name}>{dst.name}/ttl"
            wanted = expected if expected is not None else (back.ttl if back is not None else None)
            if wanted is None:
                legs.append(recorded(leg, there.ttl, f"TTL {there.ttl} at {dst.name}", "ttl"))
            elif there.ttl == wanted:
                legs.append(passed(leg, wanted, there.ttl, "ttl"))
            else:
                legs.append(
                    failed(
                        leg,
                        "wrong-value",
                        f"a packet from {where(src)} arrived at {where(dst)} with TTL {there.ttl}, not {wanted}"
                        f" ({label}): its path has {64 - there.ttl} hops, not {64 - wanted}",
                        wanted,
                        there.ttl,
                        "ttl",
                    )
                )
    total = len(classes[0][0]) + len(classes[1][0])
    return Verdict(
        tuple(legs),
        (control("P4", seen > 0, f"{seen} of {total} pairs reported a TTL"),),
        total=total,
        summary=f"{seen} pairs have the variant's number of hops: TTL "
        f"{context.expect.hops.same_node} same node, {context.expect.hops.cross_node} cross node",
    )


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
