"""Services: virtual addresses from pods, nodes and outside, and which backend answers as whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from conformance.asked import unreported
from conformance.context import Context
from conformance.dumps import unread
from conformance.inventory import ServiceFact, Site
from conformance.legs import (
    any_ok,
    broken,
    check_value,
    control,
    evidence_of,
    failed,
    leg_name,
    names,
    passed,
    reached,
    unanswered,
    where,
)
from conformance.maths import split_endpoint
from conformance.model import Check, Verdict
from harness.model.records import Control, Exchange, Leg

SV = 'Kubernetes documentation, "Service"'
VIP = 'Kubernetes documentation, "Virtual IPs and Service Proxies"'
AT_ONCE = 2500.0
"""Milliseconds within which a refusal counts as immediate: before TCP sends its first packet for the third time, after
three seconds (RFC 6298, section 2). The second one is not enough to blame a network: Linux does not end a connection on
an ICMP error that comes while connect(2) still holds the socket (tcp_v4_err), and over a veth pair without a bridge the
error comes that soon. What is refused later than this has dropped packets. A busy machine is slow, but not so slow."""

REFUSALS = frozenset({0, 1, 111, 113})
"""errno of a refusal: operation not permitted (by a program at connect(2)), connection refused, no route to host. 101
would come from a router that does not know it."""


def _sole(context: Context) -> list[ServiceFact]:
    return [service for service in context.inventory.services if service.role.startswith("sole-")]


def _backend_twin(context: Context) -> Control:
    return control("P1", any_ok(context.exchanges.get("mesh", ())), "backends answer at their own address")


def _vip_exchanges(
    context: Context, sites: Iterable[Site], purpose: str = "vip"
) -> list[tuple[Site, ServiceFact, str, Exchange | None]]:
    """Every site, Service with one backend elsewhere, and transport."""
    return [
        (site, service, proto, context.exchange(purpose, site.name, service.name, proto))
        for site in sites
        for service in _sole(context)
        if site.name not in service.endpoints
        for proto in ("tcp", "udp")
    ]


def _reach(context: Context, sites: Iterable[Site], text: str) -> Verdict:
    wanted = _vip_exchanges(context, sites)
    legs = []
    for site, service, proto, one in wanted:
        leg = f"{site.name}>{service.name}/{proto}"
        found = reached(context, one, leg)
        if found.status == "pass" and one is not None and one.token not in service.endpoints:
            words = (
                f"{where(site)} dialled {one.dial} of Service {service.name}, whose only backend is "
                f"{names(service.endpoints)}, but {one.token} answered"
            )
            found = failed(leg, "wrong-peer", words, list(service.endpoints), one.token)
        legs.append(found)
    return Verdict(
        tuple(legs),
        (_backend_twin(context),),
        evidence_of((one for *_, one in wanted), legs),
        summary=f"{len(legs)} legs {text} were answered by the right backend",
    )


def clusterip_reach(context: Context) -> Verdict:
    """Every pod reaches every virtual address, its backend on the same node or on another."""
    return _reach(context, context.inventory.pods, "from pods to ClusterIPs, TCP and UDP")


def from_node(context: Context) -> Verdict:
    """Programs on a node reach virtual addresses."""
    return _reach(context, context.inventory.hosts, "from nodes to ClusterIPs, TCP and UDP")


def clusterip_set(context: Context) -> Verdict:
    """Exactly the ready endpoints answer, no more and no fewer."""
    service = context.inventory.service("spread")
    count = len(service.endpoints) if service else 0
    seen = context.exchanges.get("spread", ())
    legs: list[Leg] = []
    shares: list[str] = []
    for src in sorted({one.src for one in seen}):
        tokens = Counter(one.token for one in seen if one.src == src and one.outcome == "ok")
        wanted = set(service.endpoints) if service else set()
        lost = sum(one.src == src and one.outcome != "ok" for one in seen)
        leg = f"{src}>spread"
        missing, extra = wanted - set(tokens), set(tokens) - wanted
        total = tokens.total()
        shares += [f"{name} {share / total:.0%}" for name, share in sorted(tokens.items())] if total else []
        if extra:
            text = f"Service spread was answered by {names(sorted(extra))}, which is not one of its ready endpoints"
            legs.append(failed(leg, "unexpected", text, sorted(wanted), sorted(tokens)))
        elif missing:
            text = f"{src} asked Service spread {total} times and never got {names(sorted(missing))}"
            legs.append(failed(leg, "missing", text, sorted(wanted), sorted(tokens)))
        elif lost:
            text = f"{lost} of {total + lost} connections from {src} to Service spread failed"
            legs.append(failed(leg, "lost", text, 0, lost, "count"))
        else:
            legs.append(passed(leg, sorted(wanted), dict(tokens)))
    legs += unreported(context, "spread")
    return Verdict(
        tuple(legs),
        (control("P4", count, f"{count} ready endpoints"),),
        summary=f"all {count} endpoints answer and no others: {', '.join(shares[:8])}",
    )


def clusterip_source(context: Context) -> Verdict:
    """The backend of a virtual address sees the client's own address."""
    legs = []
    seen = []
    for site, service, proto, one in _vip_exchanges(context, context.inventory.pods):
        leg = f"{site.name}>{service.name}/{proto}"
        if one is None or one.outcome != "ok":
            legs.append(unanswered(context, one, leg, "whom the backend sees"))
            continue
        seen.append(one)
        address = split_endpoint(one.peer)[0]
        text = f"{where(site)} dialled {one.dial}, and the backend {one.token} saw {address} instead"
        legs.append(check_value(leg, site.ip, address, text, unit="ip", reason="wrong-source"))
    return Verdict(
        tuple(legs),
        (
            control("P7", all(site.ip for site in context.inventory.pods), "pod addresses are known"),
            control("P4", seen, f"{len(seen)} of {len(legs)} exchanges were answered"),
        ),
        evidence_of(seen, legs),
        summary=f"{len(seen)} exchanges through ClusterIPs kept the client's address",
    )


def hairpin(context: Context) -> Verdict:
    """A pod reaches itself through its own Service."""
    legs: list[Leg] = []
    sources: list[str] = []
    seen: list[Exchange | None] = []
    for service in _sole(context):
        for name in service.endpoints:
            for proto in ("tcp", "udp"):
                one = context.exchange("hairpin", name, service.name, proto)
                seen.append(one)
                leg = f"{name}>{service.name}/{proto}"
                found = reached(context, one, leg)
                if found.status == "pass" and one is not None:
                    sources.append(f"{name} sees {split_endpoint(one.peer)[0]}")
                    if one.token != name:
                        text = f"{name} dialled its own Service and {one.token} answered"
                        found = failed(leg, "wrong-peer", text, name, one.token)
                legs.append(found)
    others = any_ok(context.exchanges.get("vip", ()))
    return Verdict(
        tuple(legs),
        (control("P1", others, "other clients reach the same Services"),),
        evidence_of(seen, legs),
        summary=f"{len(legs)} legs from a pod to itself through its Service; " + ", ".join(dict.fromkeys(sources)),
    )


def _no_refusal(one: Exchange) -> tuple[str, str, str]:
    """Why an answer is no refusal at once: a reason, and what a sentence says before and after the time."""
    if one.outcome not in {"refused", "unreachable"}:
        return one.outcome, "", " instead of a refusal"
    if one.errno not in REFUSALS:
        return "elsewhere", "", ": the error is from a router, so the packet left the node"
    return "late", "only ", ""


def _refusal(context: Context, one: Exchange) -> Leg:
    """Passed when a connection was refused at once."""
    leg = leg_name(one)
    ms = one.tries[-1].ms if one.tries else (one.rtt_us or 0) / 1000
    wanted, observed = f"refused within {AT_ONCE:.0f} ms", f"{one.outcome} after {ms:.0f} ms"
    if one.outcome in {"refused", "unreachable"} and one.errno in REFUSALS and ms < AT_ONCE:
        return passed(leg, wanted, f"{one.outcome} after {ms:.1f} ms")
    if one.outcome == "error":
        return broken(leg, f"the probe itself failed on {leg}: {one.detail}")
    reason, only, instead = _no_refusal(one)
    text = (
        f"{one.dial}/{one.proto} has no endpoint, but {where(context.site(one.src))} got {one.outcome} "
        f"{only}after {ms:.0f} ms{instead}"
    )
    return failed(leg, reason, text, wanted, observed)


def no_endpoints(context: Context) -> Verdict:
    """A virtual address without endpoints is refused at once; the same rule must flag one that has some."""
    legs = [_refusal(context, one) for one in context.exchanges.get("no-endpoints", ())]
    legs += unreported(context, "no-endpoints")
    answered = [one for one in context.exchanges.get("vip", ()) if one.outcome == "ok"]
    flagged = [one for one in answered if _refusal(context, one).status == "fail"]
    return Verdict(
        tuple(legs),
        (
            control("P2", answered, "a virtual address with an endpoint answers"),
            control("inv", flagged and flagged == answered, "with an endpoint it is not refused"),
        ),
        summary=f"{len(legs)} legs to an address without endpoints were refused at once",
    )


def _moved(context: Context, what: str, twin: str, twin_text: str) -> Verdict:
    """After a Service moved, this kind of traffic is answered by the new endpoint."""
    facts = context.api("moved") or {}
    target, seconds = str(facts.get("to", "")), facts.get("seconds")
    legs: list[Leg] = [] if facts else [unread(what, "the API", "moved", None)]
    for one in context.exchanges.get(what, ()) if facts else ():
        leg = leg_name(one)
        text = (
            f"{facts.get('waited', 0):.1f} s after Service {one.dst} moved from {facts.get('from')} to {target}, "
            f"{where(context.site(one.src))} still gets answers from {one.token or 'no endpoint'} over {one.proto}"
        )
        if one.outcome == "error":
            legs.append(broken(leg, f"the probe itself failed on {leg}: {one.detail}"))
        elif one.outcome == "ok" and one.token == target:
            legs.append(passed(leg, target, one.token))
        else:
            legs.append(failed(leg, "late", text, target, one.token or one.outcome))
    others = context.exchanges.get(twin, ())
    good = any(one.outcome == "ok" and (twin.startswith("before") or one.token == target) for one in others)
    took = f" after {seconds:.2f} s" if seconds is not None else ""
    return Verdict(
        tuple(legs),
        (control("P6" if twin.startswith("before") else "P2", good, twin_text),),
        evidence_of(context.exchanges.get(what, ()), legs),
        summary=f"traffic followed the Service from {facts.get('from')} to {target}{took}",
    )


def endpoint_change(context: Context) -> Verdict:
    """New connections go to the new endpoint."""
    return _moved(context, "moved", "before", "the Service answered before it moved")


def udp_stale(context: Context) -> Verdict:
    """A UDP flow from one source port goes to the new endpoint."""
    return _moved(context, "moved-flow", "moved-fresh", "a fresh source port reaches the new endpoint")


def kube_proxy_free(context: Context) -> Verdict:
    """No trace of kube-proxy: chains, tables."""
    legs: list[Leg] = []
    for node in context.inventory.nodes:
        text = context.attempt("node", node.name, "rules-iptables")
        if not isinstance(text, str):
            legs.append(unread(node.name, node.name, "rules", text))
            continue
        found = _kube_chains(text)
        legs.append(
            passed(node.name, 0, 0, "count")
            if not found
            else failed(
                node.name,
                "unexpected",
                f"{node.name} still has {len(found)} kube-proxy chains, such as {found[0]}",
                0,
                len(found),
                "count",
            )
        )
    return Verdict(
        tuple(legs),
        (control("inv", _kube_chains(":KUBE-SVC-X - [0:0]"), "a stored kube-proxy chain is flagged"),),
        summary=f"{len(legs)} nodes without kube-proxy rules",
    )


def _kube_chains(text: str) -> list[str]:
    return [
        line.split()[0][1:]
        for line in text.splitlines()
        if line.startswith((":KUBE-SVC", ":KUBE-SEP", ":KUBE-SERVICES"))
    ]


NEXT = (
    "kubectl get endpointslice -A",
    "iptables-save -t nat | grep {destination}",
    "kubectl -n kube-system logs ds/kube-proxy",
)
OF_NODES = (NEXT[0], "iptables-save -t nat | grep -w {port}", NEXT[2])
"""The same where a port of nodes is dialled: rules know it by its number."""
AFTER = ("model.pod-pod.same-node", "model.pod-pod.cross-node")

CHECKS: tuple[Check, ...] = (
    Check(
        "svc.clusterip.reach", "every pod reaches a ClusterIP with a local or remote backend", "M", "B3",
        clusterip_reach, source=f"{SV}; {VIP}", gates=("svc",), after=AFTER, needs=("B1",),
        causes=("rules missing", "bridge-nf-call-iptables off: replies on the same bridge bypass conntrack"),
        next=(*NEXT, "sysctl net.bridge"),
    ),
    Check(
        "svc.clusterip.set", "all ready endpoints are used, and no others", "M", "B3", clusterip_set,
        source=f"{SV}; e2e services", gates=("svc",), after=AFTER, causes=("stale rule", "unready pod"), next=NEXT,
    ),
    Check(
        "svc.clusterip.source", "a ClusterIP keeps the client's address", "S", "B3", clusterip_source,
        source=VIP, gates=("svc",), after=AFTER, causes=("masquerade-all", "wrong cluster CIDR"), next=NEXT,
    ),
    Check(
        "svc.from-node", "programs on a node reach ClusterIPs", "M", "B3", from_node,
        source=VIP, gates=("svc", "hosts"), after=AFTER, needs=("B1",), causes=("OUTPUT hook missing",), next=NEXT,
    ),
    Check(
        "svc.hairpin", "a pod reaches itself through its Service", "M", "B3", hairpin,
        source='Kubernetes documentation, "Debug Services"', gates=("svc",), after=AFTER,
        causes=("hairpin flag of the bridge port off", "masquerade mark missing"),
        next=("bridge -d link show dev {host_veth}", *NEXT),
    ),
    Check(
        "svc.no-endpoints", "a Service without endpoints is refused at once", "S", "B3", no_endpoints,
        source="e2e services", gates=("svc",), after=AFTER, causes=("reject rule absent",), next=NEXT,
    ),
    Check(
        "svc.endpoint-change", "new connections follow a Service to its new endpoint", "M", "B3", endpoint_change,
        source=SV, gates=("svc", "slices", "multi"), after=AFTER, causes=("proxy does not sync",), next=NEXT,
    ),
    Check(
        "svc.udp-stale", "a UDP flow follows a Service to its new endpoint", "M", "B3", udp_stale,
        source="e2e conntrack", gates=("svc", "slices", "multi"), after=AFTER,
        causes=("connection table not cleared",), next=("conntrack -L -p udp --orig-dst {destination}", *NEXT),
    ),
    Check(
        "svc.kpf", "no rules of kube-proxy are left", "M", "B0", kube_proxy_free,
        gates=("kpf", "node"), inverse="a stored kube-proxy chain is flagged",
        causes=("leftovers of an earlier kube-proxy",), next=("iptables-save | grep KUBE",),
    ),
)  # fmt: skip
