"""Names that actions of faults use, each with its meaning and what gives its value: `docs/faults.md` has them."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal

from conformance import manifests
from conformance.context import Context
from conformance.dumps import by_name, links
from conformance.inventory import NAMESPACE, NodeFact, ServiceFact, Site
from conformance.maths import base, first_host
from harness.errors import UsageError
from harness.faults.model import Fault
from harness.model.family import Range
from harness.model.fault import unclear
from harness.model.plain import dotted_path
from harness.model.spec import MAX_NODES, LabSpec
from harness.model.world import public
from harness.steps.suite.deploy import Suite

LOWER: Final = 100
"""Bytes by which the fault `underlay-low` lowers an MTU."""

Part = Literal["", "node", "pod", "service", "protocol"]
"""What the end of a name says; empty where the name has no such end."""

Values = Callable[[Suite, Context], Iterator[tuple[str, str]]]
"""Gives the ends that a lab has, each with the value of the name."""


def service_key(name: str) -> str:
    """A Service as the end of a name: names of faults have no hyphens."""
    return name.replace("-", "_")


def _services() -> frozenset[str]:
    """Services of the suite that have an address of their own."""
    items = manifests.services(LabSpec())
    addressed = [one for one in items if one["spec"].get("clusterIP") != "None" and "externalName" not in one["spec"]]
    return frozenset(service_key(one["metadata"]["name"]) for one in addressed)


ENDS: Final[Mapping[Part, frozenset[str]]] = {
    "": frozenset({""}),
    "node": frozenset(map(str, range(1, MAX_NODES + 1))),
    "pod": frozenset(islice(manifests.pod_names(), manifests.PODS_PER_NODE * MAX_NODES)),
    "service": _services(),
    "protocol": frozenset({"tcp", "udp"}),
}
"""Ends that names can have in any lab."""


@dataclass(frozen=True)
class Name:
    """A name, or names that differ in their end.

    Args:
        prefix: How it begins; all of it where `part` is empty.
        part: What its end says.
        meaning: What it stands for.
        values: Gives its values. A lab that has no such thing has no such value.
    """

    prefix: str
    part: Part
    meaning: str
    values: Values

    @property
    def form(self) -> str:
        """As the documentation has it: `N<node>`."""
        return f"{self.prefix}<{self.part}>" if self.part else self.prefix

    @property
    def possible(self) -> frozenset[str]:
        """All names of this form that a lab can have."""
        return frozenset(f"{self.prefix}{end}" for end in ENDS[self.part])


def _one(name: str, meaning: str, value: Callable[[Context], str | None]) -> Name:
    def values(_: Suite, context: Context) -> Iterator[tuple[str, str]]:
        if (found := value(context)) is not None:
            yield "", found

    return Name(name, "", meaning, values)


def _of_node(prefix: str, meaning: str, value: Callable[[Context, NodeFact], str | None]) -> Name:
    def values(_: Suite, context: Context) -> Iterator[tuple[str, str]]:
        for number, node in enumerate(context.inventory.nodes, start=1):
            if (found := value(context, node)) is not None:
                yield str(number), found

    return Name(prefix, "node", meaning, values)


def _of_share(prefix: str, meaning: str, value: Callable[[str], str]) -> Name:
    """Of a node's pod CIDR, where nodes have one."""
    return _of_node(prefix, meaning, lambda _, node: value(node.pod_cidr) if node.pod_cidr else None)


def _of_pod(prefix: str, meaning: str, value: Callable[[Suite, Site], str | None]) -> Name:
    def values(suite: Suite, context: Context) -> Iterator[tuple[str, str]]:
        for site in context.inventory.pods:
            if (found := value(suite, site)) is not None:
                yield site.name, found

    return Name(prefix, "pod", meaning, values)


def _spare(context: Context) -> str | None:
    cidr = context.inventory.nodes[0].pod_cidr
    if not cidr:
        return None
    share = ipaddress.ip_network(cidr)
    return str(share[share.num_addresses - 3])


def _tunnel_mac(context: Context, node: NodeFact) -> str | None:
    tunnel = links(context, node.name).get(context.expect.overlay_device or "")
    return str(tunnel["address"]) if tunnel else None


def _pid(suite: Suite, site: Site) -> str | None:
    container = suite.sandboxes.find(NAMESPACE, site.pod).container(site.containers[0])
    return str(container.pid) if container is not None else None


def _cluster_ips(_: Suite, context: Context) -> Iterator[tuple[str, str]]:
    for service in context.inventory.services:
        if service.cluster_ip not in {"", "None"}:
            yield service_key(service.name), service.cluster_ip


def _node_ports(_: Suite, context: Context) -> Iterator[tuple[str, str]]:
    of_nodes: list[ServiceFact] = [one for one in context.inventory.services if one.role == "nodeport"]
    yield from ((port.proto, str(port.node_port)) for service in of_nodes for port in service.ports)


def _plugin(context: Context) -> str | None:
    seen: Mapping[str, Any] = context.attempt("cni", context.inventory.nodes[0].name, "verbs") or {}
    conf = seen.get("conf")
    return f"/opt/cni/bin/{conf['plugins'][0]['type']}" if conf else None


def _agent(context: Context, part: int) -> str | None:
    """A part of the first DaemonSet among the variant's workloads: namespace/kind/name."""
    found = (one.split("/") for one in context.variant.workloads)
    return next((parts[part] for parts in found if parts[1] == "DaemonSet"), None)


def _underlay(context: Context) -> int:
    return context.inventory.nodes[0].mtu


def _pod_link(context: Context) -> str | None:
    link = by_name(context.attempt("pod", context.inventory.pods[0].name, "addr")).get("eth0")
    return str(link["mtu"]) if link else None


def rules(context: Context) -> str:
    """Rules of iptables on the first node; none where they could not be read."""
    text = context.attempt("node", context.inventory.nodes[0].name, "rules-iptables")
    return text if isinstance(text, str) else ""


def masquerade_rule(text: str) -> str:
    """The rule of POSTROUTING that is neither kube-proxy's nor the port map's, as words for `iptables -D`."""
    for line in text.splitlines():
        _, found, words = line.partition("-A POSTROUTING ")
        if found and not any(f"-j {owner}" in words for owner in ("KUBE-", "CNI-")):
            return words
    return ""


def _net(context: Context) -> Range:
    return context.spec.pods.range(context.family)


NAMES: Final = (
    _of_node("N", "address of the node on the underlay", lambda _, node: node.address),
    _of_share("C", "pod CIDR of the node", str),
    _of_share("L", "prefix length of that pod CIDR", lambda cidr: str(ipaddress.ip_network(cidr).prefixlen)),
    _of_share("G", "first address of that pod CIDR: the pods' gateway where the network has one", first_host),
    _of_share("T", "address zero of that pod CIDR: flannel's tunnel address", base),
    _of_node("M", "MAC address of the node's tunnel device", _tunnel_mac),
    _one("SPARE", "an address of the first node's pod CIDR that no pod has", _spare),
    _of_pod("", "address of the pod", lambda _, site: site.ip),
    _of_pod("H", "the node's end of the pod's veth pair", lambda _, site: site.host_veth),
    _of_pod("PID", "process ID of the pod's first container, as its node sees it", _pid),
    Name("VIP", "service", "ClusterIP of the Service; a hyphen of its name is written `_`", _cluster_ips),
    Name("NP", "protocol", "NodePort of the Service `nodeport` for the protocol", _node_ports),
    _of_node("BOUND", "host port that pods of the suite have for one address of the node alone",
             lambda _, node: str(node.bound_port) if node.bound_port else None),
    _one("NET", "the cluster CIDR", lambda context: str(_net(context))),
    _one("STRAY", "an address near the end of the cluster CIDR, outside the pod CIDR of any node of a small cluster",
         lambda context: str(_net(context)[_net(context).num_addresses - 100])),
    _one("X", "the public address that the router plays", lambda context: str(public(context.family))),
    _one("U", "the underlay's NIC on every node", lambda context: context.spec.cluster_nic),
    _one("V", "the tunnel device, of a variant that has one", lambda context: context.expect.overlay_device),
    _one("B", "the bridge, of a variant that has one", lambda context: context.expect.bridge),
    _one("PORT", "UDP port of the tunnel, of a variant that has one",
         lambda context: str(context.expect.wire.port) if context.expect.wire.port else None),
    _one("UMTU", "MTU of the underlay", lambda context: str(_underlay(context))),
    _one("ULOW", f"MTU of the underlay less {LOWER} bytes", lambda context: str(_underlay(context) - LOWER)),
    _one("E", "largest IP packet of a pod between nodes",
         lambda context: str(context.expect.pod_mtu(_underlay(context)))),
    _one("PMTU", "MTU of the first pod's own link", _pod_link),
    _one("ZONE", "domain of the cluster", lambda context: context.spec.services.domain),
    _one("DNS", "ClusterIP of the cluster's DNS", lambda context: context.inventory.node_dns),
    _one("API", "ClusterIP of the API server's Service",
         lambda context: context.inventory.api.cluster_ip if context.inventory.api is not None else None),
    _one("CONF", "path of the variant's CNI configuration",
         lambda context: f"/etc/cni/net.d/{context.expect.conf_file}"),
    _one("PLUGIN", "path of the first plugin that this configuration names", _plugin),
    _one("AGENTNS", "namespace of the DaemonSet of the network's agents", lambda context: _agent(context, 0)),
    _one("AGENT", "name of that DaemonSet", lambda context: _agent(context, 2)),
    _one("LEASES", "directory of host-local's leases, of a variant that has one",
         lambda context: context.expect.lease_dir),
    _one("MASQ", "words of the variant's masquerade rule in POSTROUTING, where iptables has one",
         lambda context: masquerade_rule(rules(context)) or None),
)  # fmt: skip
"""Every name that an action can use, beside those under which it keeps the output of an earlier command."""


def possible() -> frozenset[str]:
    """All names that a lab can have."""
    return frozenset(name for one in NAMES for name in one.possible)


def insist(faults: Iterable[Fault]) -> None:
    """Refuse faults with names that no lab can have: in a lab without them they would look like a defect of the lab.

    Raises:
        UsageError: There is one.
    """
    known = possible()
    for fault in faults:
        for path, text in unclear(fault, known):
            msg = f"{fault.id} {fault.name} is not a fault: {dotted_path(path)}: {text}"
            raise UsageError(msg, next_step="docs/faults.md lists all names")


def values(suite: Suite, context: Context) -> dict[str, str]:
    """What names stand for in a lab.

    Args:
        suite: The deployed suite.
        context: Green observations of one family, with the dumps of B0.
    """
    return {f"{name.prefix}{end}": value for name in NAMES for end, value in name.values(suite, context)}
