"""Ranges of addresses on nodes: no network of somebody else covers those of the cluster, or what lies beyond it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from itertools import product
from typing import Any, Final

from conformance.checks.rule_tables import outside
from conformance.context import Context
from conformance.dumps import INET, addresses, by_name, kind, rows, unread
from conformance.fib import LOCAL, MAIN, Route, best, fib
from conformance.inventory import NodeFact
from conformance.legs import census, control, failed, names, passed, recorded
from conformance.maths import inside
from conformance.model import Check, Verdict
from harness.model.family import Address, Range
from harness.model.records import Leg

SERVED: Final = frozenset({"kube-ipvs0", "nodelocaldns"})
"""Links that hold addresses of Services by design: those of kube-proxy in IPVS mode, and of a name server per node."""


@dataclass(frozen=True)
class Covered:
    """A network of a node.

    Args:
        route: What it covers, and where that leads.
        table: Where it is; `local` for an address.
    """

    route: Route
    table: str

    def on(self, node: str) -> str:
        """`docker0 of n1 (172.31.0.0/17)`, `the blackhole route to 10.96.0.0/16 on n1`."""
        table = "" if self.table in {MAIN, LOCAL} else f" in table {self.table}"
        if not self.route.devices or self.route.kind not in {"unicast", LOCAL}:
            return f"the {self.route.kind} route to {self.route.network}{table} on {node}"
        return f"{names(self.route.devices)} of {node} ({self.route.network}{table})"

    def effect(self, node: str) -> str:
        """What becomes of packets."""
        if self.route.kind == LOCAL:
            return f"{node} keeps packets for it"
        return f"{node} sends packets for it there" if self.route.devices else f"{node} refuses packets for it"


@dataclass(frozen=True)
class Guarded:
    """What must not be covered.

    Args:
        name: End of the leg's name.
        title: The range, as a sentence has it.
        whole: A range: who has it, or a part of it, covers it. A wider one takes nothing away.
        each: Addresses: the longest prefix that has one of them decides.
        single: One of these, as a sentence has it.
    """

    name: str
    title: str
    whole: Range | None
    each: tuple[Address, ...] = ()
    single: str = ""


def ranges(context: Context) -> Verdict:
    """Links and routes of a node that are not the network's, and not the underlay's, cover nothing of the cluster's."""
    legs: list[Leg] = []
    examined = 0
    for node in context.inventory.nodes:
        links, routed = (context.attempt("node", node.name, what) for what in ("addr", "route"))
        if not rows(links) or not rows(routed):
            what, data = ("route", routed) if rows(links) else ("addr", links)
            legs.append(unread(node.name, node.name, what, data))
            continue
        examined += 1
        read = context.attempt("node", node.name, "policy-rules")
        if not (rules := rows(read)):
            legs.append(unread(f"{node.name}:tables", node.name, "policy-rules", read))
        own = _own_links(context, node, by_name(links))
        found = list(_networks(context, rules, rows(routed), rows(links), frozenset(own)))
        legs += [_leg(context, node, one, found, own) for one in _guarded(context, node)]
    return Verdict(
        tuple(legs),
        (
            census(examined, len(context.inventory.nodes), "nodes"),
            control("P5", _sees(), "a stored bridge over an outside target covers it, a wider range covers nothing"),
        ),
        summary=f"no other network of {examined} nodes covers pods, Services, nodes or the outside",
    )


def _own_links(context: Context, node: NodeFact, there: Mapping[str, Any]) -> Mapping[str, bool]:
    """Links of the network and of the underlay; true for those that hold all of a range and not one pod's address."""
    expect = context.expect
    declared = (*expect.links, expect.bridge, expect.overlay_device, expect.host_device, context.spec.cluster_nic)
    own = {name: True for name in declared if name}
    # The NIC with the node's address is the underlay's, whatever its name is in a cluster of others.
    own |= {name: True for name, link in there.items() if node.address in addresses(link, family=INET[context.family])}
    ends = {site.host_veth for site in context.inventory.on(node.name)}
    return own | {name: False for name, link in there.items() if name not in own and (name in ends or _to_a_pod(link))}


def _to_a_pod(link: Mapping[str, Any]) -> bool:
    """The node's end of a pod's link; a port of somebody's bridge leads to no pod of the network by a route."""
    return kind(link) in {"veth", "netkit"} and "master" not in link


def _networks(
    context: Context,
    rules: Sequence[Mapping[str, Any]],
    routed: Sequence[Mapping[str, Any]],
    links: Sequence[Mapping[str, Any]],
    own: frozenset[str],
) -> Iterator[Covered]:
    """Routes of the tables that rules ask for unmarked packets, and addresses of links that are up; default routes not.

    Args:
        context: Gives the family.
        rules: Rows of `ip -j rule`.
        routed: Rows of all tables.
        links: Rows of all links.
        own: Links whose addresses are the network's or the underlay's.
    """
    found = fib(rules, routed, [one for one in links if "UP" in (one.get("flags") or ())], context.family)
    asked = {MAIN, LOCAL, *(rule.table for rule in found.rules if "fwmark" not in rule.row)}
    for table, routes in found.tables.items():
        for route in routes if table in asked else ():
            foreign_address = table == LOCAL and own.isdisjoint(route.devices)
            if not route.is_default and route.kind != "throw" and (table != LOCAL or foreign_address):
                yield Covered(route, table)


def _guarded(context: Context, node: NodeFact) -> Iterator[Guarded]:
    """What of the cluster's a node must leave alone."""
    known = bool(context.gates.get("ranges"))
    if known:
        yield Guarded("pods", "the range of pods", ip_network(context.pod_range))
        yield Guarded("Services", "the range of Services", ip_network(context.service_range))
    peers = tuple(ip_address(one.address) for one in context.inventory.nodes if one.address and one is not node)
    # Of a cluster of others it is what holds all nodes, and may hold much else.
    ours = known and context.gates.get("known")
    underlay = ip_network(str(context.spec.underlay.range(context.family))) if ours else None
    if peers or underlay:
        yield Guarded("nodes", "the range of nodes", underlay, peers, "another node")
    if context.gates.get("router"):
        yield Guarded("outside", "", None, outside(context), "outside the cluster")


def _leg(context: Context, node: NodeFact, one: Guarded, found: Sequence[Covered], own: Mapping[str, bool]) -> Leg:
    leg = f"{node.name}:{one.name}"
    if one.name == "pods" and not context.gates.get("known"):
        return recorded(leg, None, f"which links of {node.name} are those of its network is not known")
    foreign = [(covered, what) for covered, what in _covering(one, found) if not _is_own(covered, own, one)]
    if not foreign:
        return passed(leg, "none", "none", "cidr")
    covered, what = foreign[0]
    more = f", and so do {names(one.on(node.name) for one, _ in foreign[1:])}" if foreign[1:] else ""
    text = f"{covered.on(node.name)} covers {what}: {covered.effect(node.name)}{more}"
    return failed(leg, "unexpected", text, "none", [str(each.route) for each, _ in foreign], "cidr")


def _covering(one: Guarded, found: Sequence[Covered]) -> list[tuple[Covered, str]]:
    """Networks that cover what is guarded, each with what of it."""
    hits: dict[Covered, str] = {}
    for covered in found:
        if one.whole is not None and inside(str(covered.route.network), str(one.whole)):
            part = "" if covered.route.network == one.whole else "a part of "
            hits[covered] = f"{part}{one.whole} ({one.title})"
    for address, table in product(one.each, dict.fromkeys(covered.table for covered in found)):
        there = {covered.route: covered for covered in found if covered.table == table}
        winner = best(there, address)
        if winner is not None:
            hits.setdefault(there[winner], f"{address} ({one.single})")
    return list(hits.items())


def _is_own(covered: Covered, own: Mapping[str, bool], one: Guarded) -> bool:
    """The network's or the underlay's; or the way to one pod of the node."""
    route = covered.route
    if route.kind not in {"unicast", LOCAL} or not route.devices:
        return False
    if one.name == "Services" and SERVED.issuperset(route.devices):
        return True
    if all(own.get(device, False) for device in route.devices):
        return True
    single = route.network.prefixlen == route.network.max_prefixlen
    return one.name == "pods" and single and all(device in own for device in route.devices)


def _sees() -> bool:
    """A bridge over an address is found; a wider range than a guarded one, and a default route, are none."""
    target = Guarded("outside", "", None, (ip_address("172.31.1.20"),))
    pods = Guarded("pods", "", ip_network("10.244.0.0/16"))
    stored = [
        {"dst": "172.31.0.0/17", "dev": "docker0"},
        {"dst": "10.0.0.0/8", "dev": "tun0"},
        {"dst": "default", "dev": "tun0"},
    ]
    found = [Covered(route, MAIN) for route in fib((), stored, (), "ipv4").tables[MAIN] if not route.is_default]
    seen = [covered.route.devices for covered, _ in _covering(target, found)]
    return seen == [("docker0",)] and not _covering(pods, found)


CHECKS: tuple[Check, ...] = (
    Check(
        "node.ranges", "no other network of a node covers pods, Services, nodes or the outside", "S", "B0", ranges,
        gates=("node",), causes=("a bridge of docker, compose or libvirt", "routes of a VPN", "residue"),
        next=("ip route show table all", "ip -br addr"),
    ),
)  # fmt: skip
