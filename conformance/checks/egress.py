"""Traffic to the outside world: does it get there, and as whom?"""

from __future__ import annotations

from collections import defaultdict

from conformance.asked import unreported
from conformance.checks.rules import scope
from conformance.context import Context
from conformance.dumps import rows, unread
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
    source_of,
    unanswered,
    where,
)
from conformance.maths import split_endpoint
from conformance.model import Check, Verdict
from harness.model.records import Exchange, Leg
from harness.model.world import public

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
        "egress.scope", "the rules never masquerade traffic inside the cluster", "M", "B0", scope,
        source=DS, gates=("nfmasq", "node"),
        causes=("ipMasq: true with one CIDR per node", "a non-masquerade CIDR that is too small"),
        next=("iptables-save -t nat -c", "nft -a list ruleset"),
    ),
)  # fmt: skip
