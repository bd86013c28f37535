"""Traffic to the outside world: does it get there, and as whom?"""

from __future__ import annotations

from collections import defaultdict

from conformance.context import Context
from conformance.dumps import unread
from conformance.flows import decisions, pod_to_pod, rules, translated
from conformance.legs import any_ok, census, control, evidence_of, failed, leg_name, passed, reached, where
from conformance.maths import split_endpoint
from conformance.model import Check, Verdict
from conformance.netfilter import Flow, parse, verdicts
from harness.model.records import Evidence, Exchange, Leg
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
    legs = [reached(context, one, f"{name}>router/{proto}") for one, name, proto in wanted]
    return Verdict(
        tuple(legs),
        (control("P1", any_ok(context.exchanges.get("egress-node", ())), "nodes themselves reach the outside"),),
        evidence_of((one for one, *_ in wanted), legs),
        summary=f"{len(context.inventory.pods)} pods reach {public(context.family)} over TCP, UDP and ICMP",
    )


def egress_source(context: Context) -> Verdict:
    """The outside sees the address of the pod's own node."""
    sightings = {
        str(row.get("nonce")): str(row.get("src"))
        for row in context.read("recorder", "router", "sightings") or []
        if row.get("nonce")
    }
    legs: list[Leg] = []
    seen = []
    for one, name, proto in _wanted(context):
        if one is None:
            continue
        pod = context.site(name)
        node = context.inventory.node(pod.node)
        # An echo request has no responder that could say whom it saw; the router's own log says it for all three.
        source = sightings.get(one.nonce, "") or (split_endpoint(one.peer)[0] if proto != "icmp" else "")
        if not source:
            continue
        seen.append(one)
        leg = f"{name}>router/{proto}"
        if source == node.address:
            legs.append(passed(leg, node.address, source, "ip"))
        else:
            who = "the pod's own address" if source == pod.ip else "an address that is not its node's"
            text = (
                f"{where(pod)} reached {public(context.family)} as {source}, {who}; "
                f"expected {node.address}, its node {node.name}"
            )
            legs.append(failed(leg, "wrong-source", text, node.address, source, "ip"))
    total = len(_wanted(context))
    if not legs:  # nothing arrived, or nothing was said about it: what did not arrive has no source
        legs = [
            failed(f"{name}>router/{proto}", "missing", f"no packet of {name} was seen outside", "a packet", "nothing")
            for one, name, proto in _wanted(context)
            if one is not None
        ]
    return Verdict(
        tuple(legs),
        (control("P1", any_ok(context.exchanges.get("egress-node", ())), "the outside sees the nodes themselves"),),
        evidence_of(seen, legs),
        total=total,
        summary=f"{len(legs)} exchanges were seen outside with the address of the pod's own node",
    )


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
                legs.append(reached(context, one, leg))
    return Verdict(
        tuple(legs),
        (
            control("P1", any_ok(context.exchanges.get("egress-node", ())), "nodes themselves reach the outside"),
            census(len({one.src for one in seen}), len(context.inventory.pods), "pods"),
        ),
        evidence_of(seen, legs),
        summary=f"{len(legs)} exchanges from one source port each got their own reply",
    )


def scope(context: Context) -> Verdict:
    """By the rules of every node, traffic between pods is never translated."""
    legs: list[Leg] = []
    evidence: list[Evidence] = []
    for node in context.inventory.nodes:
        for name, flow in pod_to_pod(context, node):
            found = decisions(context, node.name, "nat", "postrouting", flow)
            leg = f"{node.name}/{name}"
            if found is None:
                legs.append(unread(leg, node.name, "rules", *rules(context, node.name)))
            elif translated(found):
                text = f"the rules of {node.name} would {' or '.join(sorted(found))} {flow} ({name})"
                legs.append(failed(leg, "unexpected", text, "no translation", sorted(found)))
                evidence.append(Evidence(kind="rule-eval", detail={"node": node.name, "flow": str(flow)}))
            else:
                legs.append(passed(leg, "no translation", sorted(found)))
    return Verdict(
        tuple(legs),
        (
            control("P5", _sample(), "a stored masquerade rule is found, and its exception too"),
            control("P4", legs, f"{len(legs)} 5-tuples"),
        ),
        tuple(evidence[:4]),
        summary=f"{len(legs)} 5-tuples between pods pass the rules of all nodes untranslated",
    )


def _sample() -> bool:
    tables = parse(
        "*nat\n:POSTROUTING ACCEPT [0:0]\n"
        "-A POSTROUTING -s 10.0.0.0/16 -d 10.0.0.0/16 -j RETURN\n-A POSTROUTING -s 10.0.0.0/16 -j MASQUERADE\nCOMMIT\n"
    )
    inside, outside = Flow("10.0.1.2", "10.0.2.2"), Flow("10.0.1.2", "8.8.8.8")
    return verdicts(tables, "nat", "POSTROUTING", inside) == {"accept"} and verdicts(
        tables, "nat", "POSTROUTING", outside
    ) == {"masquerade"}


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
