"""For every control of every check, in the check's order: what in a run, or in the judge's own rule, makes it false."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from conformance.checks import (
    cni,
    dual,
    filters,
    identity,
    ipam,
    limits,
    mtu,
    nodes,
    policy,
    ranges,
    resolver,
    robust,
    rule_tables,
    rules,
    services,
    speed,
)
from conformance.context import Context
from conformance.inventory import Inventory
from conformance.legs import passed
from conformance.registry import CHECKS
from harness.model.disturbed import Removal, Repair
from harness.model.records import Exchange, Observation, Rung
from tests.unit.conformance import simdual, simlab, simpolicy
from tests.unit.conformance.broken import moment, packets, probed, rows, rungs, stray, verb, without
from tests.unit.conformance.simlab import Change, dumps, exchanges, records


@dataclass(frozen=True)
class Way:
    """A way in which a control is false.

    Args:
        changes: To what was seen.
        there: To what the API said is there.
        rule: A module of judges, a name in it, and what stands there instead: for stored samples.
    """

    changes: tuple[Change, ...] = ()
    there: Callable[[Inventory], Inventory] | None = None
    rule: tuple[object, str, object] | None = None


def seen(*changes: Change) -> Way:
    """Something else was seen."""
    return Way(changes)


def rule(module: object, name: str, instead: object) -> Way:
    """The rule by which real data are judged has a bug."""
    return Way(rule=(module, name, instead))


def gone(**match: Any) -> Way:
    """What matches was not seen."""
    return seen(lambda one: None if all(getattr(one, key, "") == value for key, value in match.items()) else one)


def silent(*purposes: str) -> Way:
    """Nobody answered."""
    return seen(*(exchanges({"outcome": "timeout", "tries": ()}, purpose=purpose) for purpose in purposes))


def sites(name: str, **facts: Any) -> Way:
    """The API says something else of a site; of all, without a name."""

    def edit(there: Inventory) -> Inventory:
        changed = [one.model_copy(update=facts if name in {"", one.name} else {}) for one in there.sites]
        return there.model_copy(update={"sites": tuple(changed)})

    return Way(there=edit)


def service(name: str, **facts: Any) -> Way:
    """The API says something else of a Service; without facts it does not know it."""

    def edit(there: Inventory) -> Inventory:
        kept = [one for one in there.services if facts or one.name != name]
        changed = [one.model_copy(update=facts if one.name == name else {}) for one in kept]
        return there.model_copy(update={"services": tuple(changed)})

    return Way(there=edit)


def _shareless(there: Inventory) -> Inventory:
    first, *others = there.nodes
    return there.model_copy(update={"nodes": (first.model_copy(update={"pod_cidr": ""}), *others)})


def _policies(outcome: str, *, before: bool = False) -> Way:
    """All dials before, or all under policies, end so."""

    def apply(one: Observation) -> Observation:
        purpose = getattr(one, "purpose", "")
        other = {"policy-before", "policy-after"}
        hit = purpose.startswith("policy-") and (purpose == "policy-before" if before else purpose not in other)
        return one.model_copy(update={"outcome": outcome, "tries": ()}) if hit else one

    return seen(apply)


def _closed(purpose: str) -> Way:
    """Nothing was kept of the dials that must not be answered."""
    return seen(
        lambda one: None if isinstance(one, Exchange) and one.purpose == purpose and one.outcome != "ok" else one
    )


def _nothing_deleted(one: Observation) -> Observation:
    """The kernel took nothing away."""
    if not isinstance(one, Repair):
        return one
    kept = [thing.model_copy(update={"gone": False, "seconds": None}) for thing in one.things]
    return one.model_copy(update={"things": tuple(kept)})


def _never_installed(one: Observation) -> Observation:
    """A node is as bare with its network as without it."""
    return one.model_copy(update={"installed": one.bare}) if isinstance(one, Removal) else one


MESH, SELF, VIP, ASKED = silent("mesh"), silent("self"), silent("vip"), gone(kind="lookup", purpose="service")
POD, NODE = gone(vantage="pod", place="a", what="addr"), gone(vantage="node", place="n1", what="addr")
OUTSIDE, UNDER = silent("egress-node"), (_policies("timeout", before=True), _policies("timeout"))
ADDED = seen(moment("added", leases=["10.244.0.2"], links=["cni0", "vetha"], rules=[]))
MACS = seen(rows(lambda row: row | {"mac": nodes.NOBODY}, what="fdb"))

WAYS: Final[Mapping[str, tuple[Way, ...]]] = {
    "node.underlay": (silent("underlay-self"),),
    "node.path-mtu": (
        seen(lambda one: None if isinstance(one, Rung) and one.purpose == "underlay" else one),
        seen(rungs({"outcome": "timeout"}, lambda one: one.purpose == "underlay")),
    ),
    "node.routes": (gone(what="route", place="n1"), rule(nodes, "_fits", lambda *_: True)),
    "node.overlay": (
        seen(rows(without("ifname", "flannel.1"), vantage="node", place="n1", what="addr")), MACS,
    ),
    "node.sysctl": (gone(what="sysctl", place="n1"),),
    "node.forward": (rule(rules, "dropped", lambda _: False),),
    "node.masq-rules": (rule(rules, "translated", lambda _: True),),
    "node.links": (NODE, sites("a", host_veth="")),
    "node.rules": (gone(what="policy-rules", place="n1"), rule(rule_tables, "_taken", lambda *_: None)),
    "node.filters": (gone(what="rules-iptables", place="n1"), rule(filters, "_wrong", lambda *_: False)),
    "node.ranges": (gone(what="route", place="n1"), rule(ranges, "_covering", lambda *_: [])),
    "node.agent-files": (
        seen(dumps(lambda data: {"n2": data["n2"]}, what="node-objects")),
    ),
    "conn.churn": (MESH,),
    "conn.setup": (seen(exchanges({"syn_resent": 1}, purpose="setup-self")),),
    "ct.headroom": (rule(limits, "HEADROOM", 2.0),),
    "ct.counters": (gone(what="counters", place="n1"), MESH),
    "neigh.headroom": (sites("a", node="n9"), rule(limits, "_entries", lambda *_: passed("kernel"))),
    "model.pod-ip.unique": (POD, rule(identity, "duplicates", lambda _: {})),
    "model.pod-ip.agrees": (sites("", api_ips=()),),
    "model.pod-ip.in-range": (POD, rule(identity, "inside", lambda *_: True)),
    "model.netns.private": (gone(what="sandboxes", place="n1"), gone(what="netns", place="n1")),
    "model.hostnet.identity": (seen(rows(lambda row: row | {"inode": 1000}, what="sandboxes")),),
    "model.ctr.shared": (silent("bind-free"), silent("closed")),
    "model.localhost": (MESH,),
    "model.self": (MESH,),
    "model.identity": (seen(exchanges({"token": "x"}, purpose="self")), MESH),
    "ipam.cidr.disjoint": (
        Way(there=_shareless), rule(ipam, "overlaps", lambda _: ()), rule(ipam, "_share_legs", lambda *_: []),
    ),
    "ipam.lease.match": (seen(dumps(lambda _: {}, what="leases")),),
    "model.pod-pod.same-node": (SELF,),
    "model.pod-pod.cross-node": (SELF,),
    "model.ports": (MESH, gone(purpose="ports", src="a")),
    "model.protocols": (MESH,),
    "model.one-way": (SELF, gone(purpose="one-way", src="a")),
    "model.loss": (SELF, gone(purpose="loss", src="a")),
    "model.hops": (seen(exchanges({"ttl": None}, purpose="mesh")),),
    "model.integrity": (silent("integrity-small"), gone(purpose="integrity", src="a")),
    "model.node-pod.local": (SELF,),
    "model.node-pod.remote": (SELF,),
    "model.pod-node.own": (SELF,),
    "model.pod-node.remote": (SELF,),
    "model.node-pod.source": (silent("host"), seen(exchanges({"peer": "192.0.2.1:1"}, src="h1", dst="h2"))),
    "model.pod-node.source": (silent("host"), seen(exchanges({"peer": "192.0.2.1:1"}, src="h1", dst="h2"))),
    "model.no-nat.same-node": (seen(exchanges({"source": "192.0.2.1:1"}, purpose="mesh")),),
    "model.no-nat.cross-node": (seen(exchanges({"source": "192.0.2.1:1"}, purpose="mesh")),),
    "model.no-nat.wire": (seen(records("tap", {"canary": False})), seen(records("tap", {"packets": ()}))),
    "mtu.agree": (POD, gone(what="addr"), rule(mtu, "_fits", lambda *_: passed("a", 1, 1))),
    "mtu.exact": (
        seen(rungs({"outcome": "timeout"}, lambda one: one.size == 576)), gone(kind="rung", src="a", dst="c"),
    ),
    "mtu.plus-one": (seen(rungs({"outcome": "timeout"}, lambda _: True)),),
    "mtu.wire": (seen(records("tap", {"canary": False})),),
    "mtu.fragments": (silent("unfragmented"), gone(purpose="fragmented", src="a")),
    "mtu.payload": (silent("integrity-small"), gone(purpose="payload", src="a")),
    "mtu.mss": (seen(packets(lambda one: one.model_copy(update={"tcp_mss": None})), exchanges({"mss": None})),),
    "mtu.pmtud": (silent("far-small"),),
    "svc.clusterip.reach": (MESH,),
    "svc.clusterip.set": (service("spread", endpoints=()),),
    "svc.clusterip.source": (sites("a", ip=""), VIP),
    "svc.from-node": (MESH,),
    "svc.hairpin": (VIP,),
    "svc.no-endpoints": (VIP, rule(services, "_refusal", lambda *_: passed("a"))),
    "svc.endpoint-change": (silent("before"),),
    "svc.udp-stale": (silent("moved-fresh"),),
    "svc.kpf": (rule(services, "_kube_chains", lambda _: []),),
    "svc.nodeport": (VIP, gone(purpose="nodeport", dst_node="n1")),
    "svc.etp-local": (silent("nodeport"), _closed("etp-local")),
    "svc.itp-local": (VIP, _closed("itp-local")),
    "svc.affinity": (silent("spread"),),
    "svc.api-server": (seen(exchanges({"trusted": False}, purpose="api-endpoint")),),
    "svc.hostport.reach": (MESH, gone(purpose="hostport", dst_node="n1")),
    "svc.hostport.scope": (MESH, silent("localhost"), gone(purpose="bound", dst_node="n1")),
    "ct.invalid": (service("sole-c", endpoints=()), seen(stray("b", "a", resets=1))),
    "dns.service": (service("spread"), gone(kind="lookup", src_node="n1")),
    "dns.srv": (service("spread"),),
    "dns.ptr": (service("spread"),),
    "dns.headless": (service("headless", endpoint_ips=()),),
    "dns.pod": (sites("a", ip="10.244.0.9"),),
    "dns.externalname": (service("external"),),
    "dns.schema": (ASKED,),
    "dns.resolv-conf": (
        rule(resolver, "parse_resolv_conf", lambda _: {"nameservers": [], "search": [], "ndots": 5}),
    ),
    "dns.headless-empty": (ASKED,),
    "dns.negative": (ASKED,),
    "dns.same-socket": (service("spread"), gone(purpose="own-sockets")),
    "dns.negative.relative": (gone(purpose="negative-absolute"),),
    "dns.search": (ASKED,),
    "dns.tcp": (ASKED,),
    "dns.large": (ASKED,),
    "dns.forward": (seen(dumps(lambda _: [], what="dns")),),
    "dns.latency": (rule(resolver, "percentiles", lambda _: (1.0, 1.0)),),
    "egress.reach": (OUTSIDE,),
    "egress.source": (OUTSIDE,),
    "egress.ports": (OUTSIDE, gone(purpose="egress-port", src="a")),
    "egress.inbound": (silent("inbound-node"), silent("inbound-routed")),
    "egress.targets": (seen(exchanges({"outcome": "timeout"}, purpose="target-node", dst="neighbour")),),
    "egress.scope": (rule(rules, "translated", lambda _: False), gone(what="rules-iptables", place="n1")),
    "dual.pod-ips": (POD,),
    "dual.service": (VIP,),
    "v6.reach": (MESH, gone(purpose="mesh", src="a", dst="c")),
    "v6.extensions": (MESH, gone(purpose="extension-destination", src="a")),
    "v6.dad": (POD, rule(dual, "_odd", lambda _: ())),
    "np.default": (
        gone(purpose="policy-before", src="y/b"),
        silent("policy-before", "policy-after"),
    ),
    **{name: UNDER for name, check in CHECKS.items() if "np" in check.gates},
    "np.implicit": (*UNDER, _policies("ok")),
    "np.new-pod": (_policies("timeout"),),
    "np.absent": (_policies("timeout", before=True), rule(policy, "got_through", lambda _: True)),
    "model.kubelet-probe": (
        seen(dumps(lambda data: data | {"pods": {"n2": data["pods"]["n2"]}}, what="kubelet")),
        seen(probed("n1", "exec", successful=2)),
    ),
    "cni.conf.active": (
        seen(dumps(lambda data: data | {"files": None}, what="verbs")), rule(cni, "_types", lambda _: {"x"}),
    ),
    "cni.add.result": (seen(dumps(lambda data: data | {"calls": []}, what="verbs")),),
    "cni.add.effect": (seen(dumps(lambda data: data | {"kernel": {}}, what="verbs")),),
    "cni.add.conflict": (seen(verb("second", status=1), verb("add-again", status=1)),),
    "ipam.release": (ADDED,),
    "cni.del.repeat": (ADDED,),
    "cni.del.no-netns": (ADDED,),
    "cni.del.no-prev": (ADDED,),
    "cni.gc": (seen(verb("add", status=1)),),
    "cni.status": (seen(verb("add", status=1)),),
    "ipam.reuse": (
        seen(
            dumps(
                lambda data: data | {"scratch": data["scratch"] | {"reuse": data["scratch"]["reuse"] | {
                    "asked": [row | {"ttl": None} for row in data["scratch"]["reuse"]["asked"]],
                }}},
                what="attachments",
            )
        ),
    ),
    "ipam.exhaust": (seen(verb("fill-0", status=1)),),
    "cni.check.ok": (seen(verb("add", status=1)),),
    "cni.check.detects": (seen(verb("check", status=1)),),
    "cni.version": (seen(verb("unknown-version", status=0, output="")),),
    "cni.error": (seen(verb("add", status=1)),),
    "node.heal": (seen(_nothing_deleted), gone(kind="repair", src="n1")),
    "robust.restart": (
        seen(records("restart", {"before": ()})), seen(records("stream", {"sent": 20, "received": 20}, dst="self")),
    ),
    "robust.loss": (
        seen(dumps(lambda data: [row | {"before": []} for row in data], what="node-loss")),
        seen(records("stream", {"sent": 20, "received": 20}, dst="self")),
    ),
    "robust.join": (silent("join-before"), seen(exchanges({"outcome": "ok"}, purpose="join-away"))),
    "ipam.cidr.stable": (gone(kind="restart", src="n1"), rule(robust, "_same", lambda *_: passed("n1"))),
    "conn.idle": (
        seen(records("held", {"outcome": "reset"}, dst="self")), seen(records("held", {"before": "timeout"})),
    ),
    "ipam.churn": (seen(records("rounds", {"during": {}})),),
    "residue.clean": (gone(kind="removal", src="n1"), seen(_never_installed)),
    **dict.fromkeys(
        ("perf.throughput", "perf.rr", "perf.setup"),
        (gone(kind="speed"), gone(what="machine"), rule(speed, "middle", lambda _: 1.0)),
    ),
}  # fmt: skip
"""Check -> its controls, in order. A control too many or too few fails the test."""

CENSUS: Final[tuple[Way, ...]] = (Way((lambda _: None,)),)
"""Of a check that is not in the table: it has a census and no other control, which is false when nothing was seen."""


def green(check: str) -> Context:
    """A healthy lab in which a check applies."""
    gates = CHECKS[check].gates
    if {"v6", "dual"} & set(gates):
        return simdual.green("dual")
    if "np" in gates:
        base = simlab.green()
        return simpolicy.context(base, base.inventory, simpolicy.observations(enforcing=True), enforcing=True)
    run = simlab.green()
    variant = run.variant.model_copy(update={"gates": (*run.variant.gates, "kpf", "cni4")})
    return replace(run, variant=variant, memo={})


def changed(run: Context, way: Way) -> Context:
    """A run in which a control should be false, but for the judge's rule."""
    left = []
    for one in run.observations:
        current: Observation | None = one
        for change in way.changes:
            current = change(current) if current is not None else None
        left += [current] if current is not None else []
    inventory = way.there(run.inventory) if way.there else run.inventory
    return replace(run, observations=tuple(left), inventory=inventory, memo={})
