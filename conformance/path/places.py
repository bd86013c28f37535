"""The places of a cluster as a packet meets them: network namespaces with their links, tables and rules. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address, ip_network
from typing import Any, Final, Literal

from conformance.context import Context
from conformance.dumps import INET, by_name, is_up, kind, reason, rows
from conformance.fib import Fib, fib, plain_rules
from conformance.hooks import NodeRules
from conformance.inventory import NodeFact
from conformance.noderules import node_rules, pod_rules
from harness.model.family import Family, family_of_dial

Json = Mapping[str, Any]
Kind = Literal["pod", "node", "router", "far"]

POD_NIC: Final = "eth0"
"""A pod's own link, as the runtime names it."""


@dataclass(frozen=True)
class Place:
    """A network namespace.

    Args:
        name: Of the pod or the machine.
        kind: What it is.
        node: The node that it is on; a node's own name for itself.
        family: That is looked at.
        links: By name, with their addresses.
        fib: Policy rules and routing tables; None where they are not known.
        neighbours: Entries of ARP or NDP.
        fdb: Entries of bridges and tunnels.
        ports: Ports of bridges, by name.
        sysctl: Settings of the kernel.
        rules: Of netfilter; None where they are not known.
        deciders: Devices at which programs of eBPF decide.
        queues: Kinds of queues that may drop, by the device that they are at.
        held: Addresses that the runtime knows of, where links are not known.
        host_veth: Of a pod: the node's end of its link.
        unread: Why it is not known whether programs decide; empty: it is.
    """

    name: str
    kind: Kind
    node: str
    family: Family
    links: Mapping[str, Json] = field(default_factory=dict)
    fib: Fib | None = None
    neighbours: tuple[Json, ...] = ()
    fdb: tuple[Json, ...] = ()
    ports: Mapping[str, Json] = field(default_factory=dict)
    sysctl: Mapping[str, str] = field(default_factory=dict)
    rules: NodeRules | None = None
    deciders: frozenset[str] = frozenset()
    queues: Mapping[str, str] = field(default_factory=dict)
    held: tuple[str, ...] = ()
    host_veth: str = ""
    unread: str = ""

    @cached_property
    def addresses(self) -> dict[str, str]:
        """Every address of the family, with the link that has it; of a pod that was not asked, those that are known."""
        found: dict[str, str] = {}
        for name, link in self.links.items():
            for info in link.get("addr_info") or ():
                if info.get("family") == INET[self.family] and "local" in info:
                    found[str(info["local"])] = name
        return found or {address: POD_NIC for address in self.held if family_of_dial(address) == self.family}

    def unusable(self, address: str) -> str:
        """Why the kernel does not use an address that it has; empty when it does (RFC 4862, duplicate detection)."""
        for link in self.links.values():
            for info in link.get("addr_info") or ():
                if info.get("local") == address:
                    return next((flag for flag in ("dadfailed", "tentative") if info.get(flag)), "")
        return ""

    def is_up(self, device: str) -> bool:
        """A link that is there and up; of a place that was not asked, any."""
        return not self.links or (device in self.links and is_up(self.links[device]))

    def mtu(self, device: str) -> int:
        """MTU of a link in bytes; 0 where it is not known."""
        return int(self.links.get(device, {}).get("mtu") or 0)

    def mac(self, device: str) -> str:
        """Of a link; empty where it is not known."""
        return str(self.links.get(device, {}).get("address") or "")

    def master(self, device: str) -> str:
        """The bridge that a link is a port of; empty: none."""
        return str(self.links.get(device, {}).get("master") or "")

    def kind_of(self, device: str) -> str:
        """Kind of a link, as veth, bridge or vxlan."""
        return kind(self.links.get(device, {}))

    def source(self, device: str) -> str:
        """The address that packets of the place's own have when they leave by a link, of those that are global."""
        for info in self.links.get(device, {}).get("addr_info") or ():
            usual = info.get("scope") not in {"host", "link"}
            if info.get("family") == INET[self.family] and usual and not self.unusable(str(info.get("local"))):
                return str(info["local"])
        return ""

    def neighbour(self, address: str, device: str) -> Json | None:
        """The entry for a neighbour; None for none."""
        return next((row for row in self.neighbours if row.get("dst") == address and row.get("dev") == device), None)

    def setting(self, key: str) -> str:
        """A sysctl; empty where it is not known."""
        return str(self.sysctl.get(key, ""))


@dataclass(frozen=True)
class World:
    """All places of a run, in one family.

    Args:
        context: The run.
        places: By name; pods that are not the suite's are named `namespace/pod`.
    """

    context: Context
    places: Mapping[str, Place]

    def on(self, node: str) -> Iterator[Place]:
        """The pods of a node."""
        return (place for place in self.places.values() if place.kind == "pod" and place.node == node)

    def machines(self) -> Iterator[Place]:
        """Nodes, the router, and the far host."""
        return (place for place in self.places.values() if place.kind != "pod")

    @cached_property
    def _holders(self) -> dict[str, Place]:
        """The first place that has each address: a walk asks for many."""
        found: dict[str, Place] = {}
        for place in self.places.values():
            for address in place.addresses:
                found.setdefault(address, place)
        return found

    def holder(self, address: str) -> Place | None:
        """Who has an address: a machine, or a pod."""
        return self._holders.get(address)

    def sharing(self, address: str) -> NodeFact | None:
        """The node of whose podCIDR an address is; None: it is of none."""
        one = ip_address(address)
        nodes = (node for node in self.context.inventory.nodes if node.pod_cidr)
        return next((node for node in nodes if one in ip_network(node.pod_cidr)), None)

    def behind(self, node: str, veth: str) -> Place | None:
        """The pod at the other end of a node's link."""
        return next((pod for pod in self.on(node) if pod.host_veth == veth), None)

    def nic(self, place: Place) -> str:
        """The link by which a machine is on the underlay."""
        spec = self.context.spec
        if self.foreign and place.kind == "node":
            return place.addresses.get(self.context.inventory.node(place.name).address, spec.cluster_nic)
        return spec.router_nic if place.kind == "router" else spec.cluster_nic

    @property
    def foreign(self) -> bool:
        """Nobody here made the cluster: it may have machines, links and rules of which nobody was asked."""
        return self.context.spec.provider == "existing"

    @cached_property
    def proxied(self) -> bool:
        """Rules of kube-proxy lead to Services. Of a cluster that is not ours the rules themselves tell."""
        if self.foreign:
            return any(led(place.rules) for place in self.machines())
        return bool(self.context.gates.get("kp"))


IPVS: Final = "kube-ipvs0"
"""The link that has the addresses of all Services where IPVS leads to their endpoints (pkg/proxy/ipvs)."""

_CHAIN: Final = "KUBE-SERVICES"
_TABLE: Final = "kube-proxy"


def led(rules: NodeRules | None) -> bool:
    """Whether there are rules of kube-proxy, in its modes iptables and nftables.

    Args:
        rules: Of a node; None where they are not known.
    """
    if rules is None:
        return False
    saved = any(_CHAIN in table.chains for tables in rules.tables.values() for table in tables.values())
    return saved or any(table == _TABLE for _, table, _ in rules.ruleset.chains)


def world(context: Context) -> World:
    """The places of a run.

    Args:
        context: The run, for one family.
    """
    found = [_node(context, node.name) for node in context.inventory.nodes]
    found += [_machine(context, site.name) for site in context.inventory.outside]
    namespace = context.inventory.namespace
    own = {(site.namespace or namespace, site.pod or site.name): site.name for site in context.inventory.pods}
    for node in context.inventory.nodes:
        for row in rows(context.attempt("node", node.name, "sandboxes")):
            if not row.get("host_network"):
                found.append(_pod(context, node.name, row, own))
    return World(context, {place.name: place for place in found})


def _read(context: Context, vantage: str, name: str, what: str) -> Any:
    """A dump, or None where it failed."""
    data = context.attempt(vantage, name, what)
    return None if reason(data) else data


def _fib(context: Context, vantage: str, name: str) -> Fib | None:
    """Rules and tables; a pod and the router are not asked for rules, and have those of every kernel."""
    routes, links = (_read(context, vantage, name, what) for what in ("route", "addr"))
    if routes is None or links is None:
        return None
    rules = _read(context, vantage, name, "policy-rules")
    if rules is None and vantage == "node":
        return None
    plain = [rule.row for rule in plain_rules(context.family)]
    return fib(rows(rules) or plain, rows(routes), rows(links), context.family)


def _kernel(context: Context, vantage: str, name: str) -> dict[str, Any]:
    """What all places are asked for."""
    return {
        "family": context.family,
        "links": by_name(_read(context, vantage, name, "addr")),
        "fib": _fib(context, vantage, name),
        "neighbours": tuple(rows(_read(context, vantage, name, "neigh"))),
        "sysctl": _read(context, vantage, name, "sysctl") or {},
    }


def _node(context: Context, name: str) -> Place:
    return Place(
        name,
        "node",
        name,
        fdb=tuple(rows(_read(context, "node", name, "fdb"))),
        ports=by_name(_read(context, "node", name, "bridge-link")),
        rules=node_rules(context, name),
        deciders=frozenset(deciders(context, name)),
        queues=queues(context, name),
        unread=_unread(context, name),
        **_kernel(context, "node", name),
    )


def _unread(context: Context, node: str) -> str:
    """Why it is not known whether programs decide at a node: nodes that are not ours may lack the tools that tell."""
    if context.spec.provider != "existing":
        return ""
    for subject, words in (("programs", "programs of eBPF"), ("queues", "queues of devices")):
        if why := reason(context.attempt("node", node, subject)):
            return f"the {words} of {node} could not be read: {why.splitlines()[0]}"
    return ""


def _machine(context: Context, name: str) -> Place:
    vantage: Kind = "router" if name == "router" else "far"
    return Place(name, vantage, "", **_kernel(context, vantage, name))


def _pod(context: Context, node: str, row: Json, own: Mapping[tuple[str, str], str]) -> Place:
    """A pod of the suite with what its kernel said; of others what the runtime and the node know."""
    key = (str(row.get("namespace")), str(row.get("pod")))
    suite, name = key in own, own.get(key, "/".join(key))
    held = tuple(str(one) for one in row.get("ips") or (row.get("ip"),) if one)
    facts = _kernel(context, "pod", name) if suite else {"family": context.family}
    rules = pod_rules(context, name) if suite else None
    return Place(name, "pod", node, held=held, host_veth=str(row.get("host_veth") or ""), rules=rules, **facts)


PLAIN_QUEUES: Final = frozenset({
    "noqueue", "mq", "pfifo_fast", "pfifo", "fq", "fq_codel", "cake", "sfq", "clsact", "ingress", "multiq", "mqprio",
})  # fmt: skip
"""Queues that only order packets, or that only hold programs."""


def deciders(context: Context, node: str) -> dict[str, list[str]]:
    """Programs that may stop packets, by the device that they are at.

    Args:
        context: The run.
        node: Whose.
    """
    found: dict[str, list[str]] = {}
    for group in rows(context.attempt("node", node, "programs")):
        for kind_ in ("xdp", "tc"):
            for one in group.get(kind_) or ():
                found.setdefault(str(one.get("devname")), []).append(f"{kind_} {one.get('name', '')}".strip())
    return found


def queues(context: Context, node: str) -> dict[str, str]:
    """Kinds of queues that may drop packets while there is room, by the device that they are at.

    Args:
        context: The run.
        node: Whose.
    """
    found = rows(context.attempt("node", node, "queues"))
    return {str(row.get("dev")): str(row.get("kind")) for row in found if row.get("kind") not in PLAIN_QUEUES}
