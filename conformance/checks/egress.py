"""Traffic to the outside world: does it get there, and as whom?"""

from __future__ import annotations

from collections import defaultdict

from conformance.asked import unreported
from conformance.checks.rules import scope
from conformance.context import Context
from conformance.dumps import INET, reason, rows, unread
from conformance.inventory import Site
from conformance.legs import (
    answer_sentence,
    answered_by,
    any_ok,
    broken,
    census,
    control,
    evidence_of,
    failed,
    leg_name,
    names,
    outcome_sentence,
    passed,
    reached,
    recorded,
    source_of,
    unanswered,
    undialled,
    where,
)
from conformance.maths import split_endpoint
from conformance.model import Check, Verdict
from conformance.netfilter import in_network
from conformance.outward import targets
from harness.model.records import Exchange, Leg
from harness.model.world import public
from harness.probes.plan import Target

DS = 'Kubernetes documentation, "IPv4/IPv6 dual-stack", egress traffic'


def _wanted(context: Context) -> list[tuple[Exchange | None, str, str]]:
    return [
        (context.exchange("egress", pod.name, "router", proto), pod.name, proto)
        for pod in context.inventory.pods
        for proto in ("tcp", "udp", "icmp")
    ]


def egress_reach(context: Context) -> Verdict:
    """Every pod reaches an address outside the cluster."""
    wanted = _wanted(context)
    legs = [
        answered_by(context, one, reached(context, one, f"{name}>router/{proto}"), "router")
        for one, name, proto in wanted
    ]
    return Verdict(
        tuple(legs),
        (control("P1", any_ok(context.exchanges.get("egress-node", ())), "nodes themselves reach the outside"),),
        evidence_of((one for one, *_ in wanted), legs),
        summary=f"{len(context.inventory.pods)} pods reach {public(context.family)} over TCP, UDP and ICMP",
    )


def egress_source(context: Context) -> Verdict:
    """The outside sees the address of the pod's own node."""
    log = context.read("recorder", "router", "sightings")
    sightings = {str(row.get("nonce")): str(row.get("src")) for row in rows(log) if row.get("nonce")}
    legs: list[Leg] = []
    seen = []
    for one, name, proto in _wanted(context):
        # An echo request has no responder that could say whom it saw; the router's own log says it for all three.
        source = sightings.get(one.nonce, "") if one is not None else ""
        if one is not None and not source and proto != "icmp":
            source = split_endpoint(one.peer)[0]
        if one is None or not source:
            legs.append(_unseen(context, one, f"{name}>router/{proto}", log))
        else:
            seen.append(one)
            legs.append(_source_leg(context, context.site(name), source, f"{name}>router/{proto}"))
    if not seen and not any(leg.status == "error" for leg in legs):  # nothing arrived at all: that is no matter of luck
        legs = [
            failed(f"{name}>router/{proto}", "missing", f"no packet of {name} was seen outside", "a packet", "nothing")
            for _, name, proto in _wanted(context)
        ]
    return Verdict(
        tuple(legs),
        (control("P1", any_ok(context.exchanges.get("egress-node", ())), "the outside sees the nodes themselves"),),
        evidence_of(seen, legs),
        total=len(legs),
        summary=f"{len(seen)} exchanges were seen outside with the address of the pod's own node",
    )


def _source_leg(context: Context, pod: Site, source: str, leg: str) -> Leg:
    node = context.inventory.node(pod.node)
    if source == node.address:
        return passed(leg, node.address, source, "ip")
    who = "the pod's own address" if source == pod.ip else "an address that is not its node's"
    text = (
        f"{where(pod)} reached {public(context.family)} as {source}, {who}; "
        f"expected {node.address}, its node {node.name}"
    )
    return failed(leg, "wrong-source", text, node.address, source, "ip")


def _unseen(context: Context, one: Exchange | None, leg: str, log: object) -> Leg:
    """What is said of a packet of which nobody outside knows: it did not arrive, or it was not written down."""
    if one is None or one.outcome != "ok":
        return unanswered(context, one, leg, "whom the outside sees")
    if log is None:
        return unread(leg, "the router", "sightings", log)
    return broken(leg, f"{source_of(context, one)} was answered from outside, but nobody there said as whom", "missing")


def egress_ports(context: Context) -> Verdict:
    """Pods with the same source port and the same destination all get their own reply."""
    legs: list[Leg] = []
    seen = context.exchanges.get("egress-port", ())
    for proto in ("tcp", "udp"):
        used: dict[str, list[str]] = defaultdict(list)
        for one in seen:
            if one.proto == proto and one.outcome == "ok":
                used[one.peer].append(one.src)
        for one in seen:
            if one.proto != proto:
                continue
            leg = leg_name(one)
            sharers = used.get(one.peer, [])
            if one.outcome == "ok" and len(sharers) > 1:
                text = f"{' and '.join(sharers)} were both seen outside as {one.peer}"
                legs.append(failed(leg, "wrong-source", text, "one pod per address and port", sharers))
            else:
                legs.append(answered_by(context, one, reached(context, one, leg), one.dst))
    legs += unreported(context, "egress-port")
    return Verdict(
        tuple(legs),
        (
            control("P1", any_ok(context.exchanges.get("egress-node", ())), "nodes themselves reach the outside"),
            census(len({one.src for one in seen}), len(context.inventory.pods), "pods"),
        ),
        evidence_of(seen, legs),
        summary=f"{len(legs)} exchanges from one source port each got their own reply",
    )


def egress_targets(context: Context) -> Verdict:
    """Every pod reaches outside addresses of several ranges, each answered by whoever has it."""
    wanted = targets(context.family, context.gates)
    own = {target.name: _own_range(context, target.address) for target in wanted}
    answered = {one.dst for one in context.exchanges.get("target-node", ()) if one.outcome == "ok"}
    silent = [one.address for one in wanted if one.name not in answered and not own[one.name]]
    seen: list[Exchange | None] = []
    legs: list[Leg] = []
    for pod in context.inventory.pods:
        for target in wanted:
            for proto in ("tcp", "udp"):
                one = context.exchange("target", pod.name, target.name, proto)
                seen.append(one)
                legs.append(_target_leg(context, pod, target, one, f"{pod.name}>{target.name}/{proto}"))
    legs += unreported(context, "target-node")
    return Verdict(
        tuple(legs),
        (
            control(
                "P1", not silent, f"nodes reach {names(one.address for one in wanted if one.address not in silent)}"
            ),
        ),
        evidence_of(seen, legs),
        summary=f"{len(context.inventory.pods)} pods reach {names(one.address for one in wanted)} over TCP and UDP",
    )


def _own_range(context: Context, address: str) -> str:
    """Which range of the cluster has an address, where somebody gave it one that lies over the outside world."""
    ranges = {"pods": context.pod_range, "Services": context.service_range}
    ranges["nodes"] = str(context.spec.underlay.range(context.family))
    return next((what for what, one in ranges.items() if in_network(address, one)), "")


def _target_leg(context: Context, pod: Site, target: Target, one: Exchange | None, leg: str) -> Leg:
    found = reached(context, one, leg)
    if one is None or found.status == "error":
        return found
    if what := _own_range(context, target.address):
        return recorded(leg, one.outcome, f"{target.address} is in the cluster's own range of {what}")
    owner = "far" if target.name == "far" else "router"
    why = _covering(context, pod.node, target.address)
    if found.status == "pass" and one.token != owner:
        return failed(leg, "wrong-peer", f"{answer_sentence(context, one)}{why}", owner, one.token)
    if found.status == "pass":
        return found
    return found.model_copy(update={"statement": f"{found.statement}{why or _others(context, pod.node, target)}"})


def _covering(context: Context, node: str, address: str) -> str:
    """A network of the pod's node that an outside address lies in, so that it is looked for there."""
    for link in rows(context.attempt("node", node, "addr")):
        for info in link.get("addr_info", ()):
            local, length = str(info.get("local", "")), info.get("prefixlen", 0)
            network = f"{local}/{length}"
            if info.get("family") == INET[context.family] and length and in_network(address, network):
                return f": {link.get('ifname')} of {node} has {network}, which covers it"
    return ""


def _others(context: Context, node: str, target: Target) -> str:
    """Whether other nodes' pods get there."""
    there = {one.src_node for one in context.exchanges.get("target", ()) if one.dst == target.name and one.token}
    reach = sorted(there - {node, ""})
    return f"; pods of {names(reach)} can get there" if reach else ""


def egress_inbound(context: Context) -> Verdict:
    """Whether the outside reaches pods that asked for nothing, and whether only the missing route keeps it away."""
    legs: list[Leg] = []
    table = context.attempt("router", "router", "route")
    for pod in context.inventory.pods:
        for proto in ("tcp", "udp"):
            one = context.exchange("inbound", "router", pod.name, proto)
            routed = context.exchange("inbound-routed", "router", pod.name, proto)
            legs.append(_inbound_leg(context, pod, one, routed, f"router>{pod.name}/{proto}"))
    if reason(table):
        legs.append(unread("router", "the router", "route", table))
    else:
        leaked = [str(row.get("dst")) for row in rows(table) if _within_pods(context, str(row.get("dst")))]
        text = f"the router has routes into the cluster: {names(leaked)}"
        legs.append(recorded("router/routes", leaked, text if leaked else "the router has no route into the cluster"))
    legs += unreported(context, "inbound-node")
    asked = context.exchanges.get("inbound-routed", ())
    answered = [one for one in asked if one.outcome == "ok" and one.token == one.dst]
    open_ = sum(one.outcome == "ok" for one in context.exchanges.get("inbound", ()))
    return Verdict(
        tuple(legs),
        (
            control("P1", any_ok(context.exchanges.get("inbound-node", ())), "the router reaches nodes"),
            control("inv", answered, f"with routes of its own the router gets {len(answered)} answers of {len(asked)}"),
        ),
        summary=f"the router gets {open_} answers of {len(asked)} from pods unasked, and {len(answered)} with routes",
    )


def _inbound_leg(context: Context, pod: Site, one: Exchange | None, routed: Exchange | None, leg: str) -> Leg:
    if one is None or routed is None or not pod.ip:
        return undialled(context, leg)
    for seen in (one, routed):
        if seen.outcome == "error":
            return reached(context, seen, leg)
    if one.outcome == "ok":
        who = "it" if one.token == pod.name else one.token or "nobody with a name"
        return recorded(leg, "ok", f"{source_of(context, one)} dialled {where(pod)} unasked, and {who} answered")
    then = "it answers" if routed.outcome == "ok" else f"the outcome is {routed.outcome}"
    return recorded(leg, one.outcome, f"{outcome_sentence(context, one)}; with a route to {pod.ip} {then}")


def _within_pods(context: Context, network: str) -> bool:
    """A route to pods, and not one that leads everywhere."""
    return network != "default" and in_network(network.partition("/")[0], context.pod_range)


_NEXT = ("conntrack -L -s {source}", "iptables -t nat -S POSTROUTING", "nft list ruleset")

CHECKS: tuple[Check, ...] = (
    Check(
        "egress.reach", "pods reach the outside world", "S", "B5", egress_reach, source=DS, gates=("masq", "router"),
        after=("node.underlay",), causes=("masquerade rule missing or wrong",), next=_NEXT,
    ),
    Check(
        "egress.source", "the outside sees the address of the pod's own node", "M", "B5", egress_source, source=DS,
        gates=("masq", "router"), after=("node.underlay",), causes=("masquerade rule missing or wrong",), next=_NEXT,
    ),
    Check(
        "egress.ports", "pods with the same source port get separate flows outside", "S", "B5", egress_ports,
        source="RFC 4787 REQ-3, RFC 5382 REQ-7", gates=("masq", "router"), after=("node.underlay",),
        causes=("no port translation",), next=_NEXT,
    ),
    Check(
        "egress.targets", "pods reach outside addresses of several ranges", "S", "B5", egress_targets, source=DS,
        gates=("masq", "router"), after=("node.underlay",), needs=("B0",),
        causes=("a network of the node (docker, libvirt, a VPN) covers the address", "a route that is too wide"),
        next=("ip route get {destination} from {source} iif {bridge}", "ip -4 addr; ip -6 addr"),
    ),
    Check(
        "egress.inbound", "whether the outside reaches pods that asked for nothing is recorded", "R", "B5",
        egress_inbound, gates=("router",), after=("node.underlay",), causes=("a route that leaked",),
        inverse="with a route the router reaches pods",
    ),
    Check(
        "egress.scope", "the rules never masquerade traffic inside the cluster", "M", "B0", scope,
        source=DS, gates=("nfmasq", "node"),
        causes=("ipMasq: true with one CIDR per node", "a non-masquerade CIDR that is too small"),
        next=("iptables-save -t nat -c", "nft -a list ruleset"),
    ),
)  # fmt: skip
