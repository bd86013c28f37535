"""The conformance suite's presence in a cluster: its pods and Services, what they turned out to be, and the ways in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from conformance import manifests
from conformance.context import Context
from conformance.inventory import NAMESPACE, Inventory, NodeFact, ServiceFact, ServicePort, Site
from conformance.manifests import PodPlan, Ports
from conformance.maths import limit_name
from harness import timeouts
from harness.cluster import ports as numbers
from harness.cluster.kube import Object
from harness.cluster.readiness import insist, unready
from harness.cni.networks import network
from harness.errors import BringUpError
from harness.model import world
from harness.model.family import FAMILIES, TITLE, Family, family_of_dial
from harness.model.journal import Journal
from harness.model.node import Node
from harness.probes import plan as probes
from harness.probes import sandboxes
from harness.runner import CommandError
from harness.steps.lifecycle.around import around
from harness.steps.lifecycle.attach import Attached
from harness.steps.suite.api import api_server

PROC = Path("/proc")

GC_THRESH: Final[Mapping[Family, str]] = {family: f"sys/net/{family}/neigh/default/gc_thresh2" for family in FAMILIES}
"""The kernel's neighbour limits: one table per family for all network namespaces, and shown only in the first."""


def _as_it_is(item: Object) -> Object:
    return item


@dataclass(frozen=True)
class Suite:
    """The suite, deployed.

    Args:
        attached: The lab.
        sandboxes: What runs on the nodes.
        inventory: The same as data, for judges.
        sites: Ways to run probes, by site name.
        limits: What is known of the kernel's tables; nothing where it cannot be read.
        adapt: Makes an object of ours one for this cluster.
        labels: Selector of the suite's pods in all namespaces; empty for a cluster that has few others.
        way: The way into a pod by namespace, pod and name of the site; None: through the nodes.
    """

    attached: Attached
    sandboxes: sandboxes.Sandboxes
    inventory: Inventory
    sites: Mapping[str, probes.Prober]
    limits: Mapping[str, int | bool] = field(default_factory=dict)
    adapt: Callable[[Object], Object] = _as_it_is
    labels: str = ""
    way: Callable[[str, str, str], probes.Prober] | None = None

    @property
    def gates(self) -> Mapping[str, bool]:
        """Features that hold here, as judges see them."""
        return Context(self.attached.spec, self.attached.variant, self.inventory, ()).gates


def deploy(attached: Attached, journal: Journal, *, disruptive: bool = False) -> Suite:
    """Deploy pods and Services where they are not yet there, wait until they serve, and take stock.

    Args:
        attached: The lab.
        journal: Gets a step for every part.
        disruptive: What disturbs the cluster is allowed, too.

    Raises:
        BringUpError: Pods or endpoints are not ready in time; names those that are not.
    """
    with journal.step("test.deploy", "pods and Services of the suite") as detail:
        ports = _ports(attached)
        plans = manifests.pod_plans(attached.spec, ports)
        wanted = manifests.objects(attached.spec, ports)
        if running(attached.kube.list("v1", "Pod", NAMESPACE), plans):
            wanted = [item for item in wanted if item["kind"] != "Pod"]
        attached.kube.apply(wanted)
        detail["objects"] = len(wanted)
    with journal.step("test.ready", "pods and endpoints ready"):
        pods = attached.kube.wait(
            f"{len(plans)} pods in {NAMESPACE} to be ready",
            "v1",
            "Pod",
            lambda items: _all_up(items, plans),
            namespace=NAMESPACE,
            deadline=timeouts.POD_RUNNING,
        )
        services = attached.kube.list("v1", "Service", NAMESPACE)
        slices = attached.kube.wait(
            f"endpoints in {NAMESPACE} to be ready",
            "discovery.k8s.io/v1",
            "EndpointSlice",
            lambda items: all_served(items, pods, services),
            namespace=NAMESPACE,
            deadline=timeouts.POD_RUNNING,
        )
    return _take(attached, plans, pods, services, slices, disruptive=disruptive)


def _ports(attached: Attached) -> dict[str, Ports]:
    """Ports of nodes that the suite's pods have, or can have: the usual ones, where nothing else in the lab has them.

    Raises:
        BringUpError: The API does not answer.
    """
    pods = attached.kube.list("v1", "Pod")
    services = [item for item in attached.kube.list("v1", "Service") if item["metadata"]["namespace"] != NAMESPACE]
    present = [item for item in pods if item["metadata"]["namespace"] == NAMESPACE]
    used = numbers.taken((item for item in pods if item not in present), services) | _listening(attached)
    free = numbers.free(used, attached.spec.name)
    usual = Ports()
    chosen = Ports(
        usual.published if usual.published not in used else next(free),
        usual.own if usual.own not in used else next(free),
        usual.bound if usual.bound not in used else next(free),
    )
    # Pods of an earlier run that are still there keep what they have: it cannot be changed.
    return {name: _had(present, name, chosen) for name in attached.spec.node_names}


def _listening(attached: Attached) -> frozenset[int]:
    """Ports that programs of nodes have, as far as nodes say: a pod in its node's network need not declare its own."""
    nodes = attached.lab.nodes
    with ThreadPoolExecutor(max(1, len(nodes))) as pool:
        seen = list(pool.map(lambda node: node.runner.run(numbers.LISTENING, check=False), nodes))
    return frozenset(port for done in seen if done.ok for port in numbers.listening(done.stdout))


def _had(present: Sequence[Object], node: str, chosen: Ports) -> Ports:
    for item in present:
        bound = numbers.of_one_address(item)
        had = numbers.of_pod(item) - bound
        if item["spec"].get("nodeName") != node or not had:
            continue
        if item["spec"].get("hostNetwork"):
            chosen = replace(chosen, own=min(had))
        else:  # those of a version that knew no ports of one address have none
            chosen = replace(chosen, published=min(had), bound=min(bound, default=0))
    return chosen


def running(items: list[Object], plans: Sequence[PodPlan]) -> bool:
    """All planned pods are there, on their node, and all their containers run."""
    return not waiting_for(items, plans)


def waiting_for(items: list[Object], plans: Sequence[PodPlan]) -> dict[str, str]:
    """Planned pods that are not there, on their node, with all their containers running; and why."""
    found = {item["metadata"]["name"]: item for item in items}
    reasons = {plan.name: _not_up(found.get(plan.name), plan) for plan in plans}
    return {name: reason for name, reason in reasons.items() if reason}


def _not_up(item: Object | None, plan: PodPlan) -> str:
    if item is None:
        return "it does not exist"
    if not (reason := unready(item)):
        node, containers = item["spec"].get("nodeName"), len(item["spec"]["containers"])
        if node != plan.node:
            return f"it is on {node}, not on {plan.node}"
        if containers != len(plan.containers):
            return f"it has {containers} containers, not {len(plan.containers)}"
    return reason


def _all_up(items: list[Object], plans: Sequence[PodPlan]) -> list[Object]:
    insist(waiting_for(items, plans))
    return items


def _selected(pods: list[Object], service: Object) -> list[Object]:
    selector = service["spec"].get("selector")
    if not selector:
        return []
    return [pod for pod in pods if selector.items() <= pod["metadata"].get("labels", {}).items()]


def _endpoints(slices: Sequence[Object], service: str) -> list[str]:
    """Ready endpoint addresses of a Service."""
    return sorted(
        address
        for item in slices
        if item["metadata"].get("labels", {}).get("kubernetes.io/service-name") == service
        for endpoint in item.get("endpoints") or ()
        if endpoint.get("conditions", {}).get("ready", True)
        for address in endpoint["addresses"]
    )


def all_served(slices: list[Object], pods: list[Object], services: list[Object]) -> list[Object]:
    """The slices, once every Service's endpoints are the pods that it selects.

    Raises:
        NotYetError: Of some Services they are not; names them, and the addresses.
    """
    insist(_unserved(slices, pods, services))
    return slices


def _unserved(slices: list[Object], pods: list[Object], services: list[Object]) -> dict[str, str]:
    """Services whose endpoints are not the pods that they select, and what is different."""
    found = {}
    for service in services:
        if service["spec"].get("selector"):
            now = _endpoints(slices, service["metadata"]["name"])
            wanted = sorted(address for pod in _selected(pods, service) for address in _wanted(pod, service))
            if now != wanted:
                lacks, foreign = sorted(set(wanted) - set(now)), sorted(set(now) - set(wanted))
                parts = [f"lacks {', '.join(lacks)}"] if lacks else []
                parts += [f"still has {', '.join(foreign)}"] if foreign else []
                found[service["metadata"]["name"]] = "; ".join(parts) or "has an address twice"
    return found


def _wanted(pod: Object, service: Object) -> list[str]:
    """A pod's addresses in the families of a Service."""
    families = service["spec"].get("ipFamilies") or []
    found = [entry["ip"] for entry in pod["status"].get("podIPs") or [{"ip": pod["status"]["podIP"]}]]
    return [one for one in found if TITLE[family_of_dial(one)] in families] if families else found[:1]


def _take(
    attached: Attached,
    plans: Sequence[PodPlan],
    pods: list[Object],
    services: list[Object],
    slices: list[Object],
    *,
    disruptive: bool,
) -> Suite:
    """Data of what is there, and runners into it."""
    found = sandboxes.take(attached.lab)
    ways: dict[str, probes.Prober] = {}
    sites: list[Site] = []
    by_name = {pod["metadata"]["name"]: pod for pod in pods}
    for plan in plans:
        pod = by_name[plan.name]
        sandbox = found.find(NAMESPACE, plan.name)
        addresses = tuple(entry["ip"] for entry in pod["status"]["podIPs"])
        ways[plan.name] = replace(found.site(sandbox, container=plan.containers[0]), ips=addresses)
        sites.append(
            Site(
                name=plan.name,
                kind="hostnet" if plan.host_network else "pod",
                node=plan.node,
                port=plan.port,
                ip=pod["status"]["podIP"],
                ips=addresses,
                api_ips=addresses,
                namespace=NAMESPACE,
                pod=plan.name,
                containers=plan.containers,
                host_veth=sandbox.host_veth,
            )
        )
    for site in outside_sites(attached):
        node = attached.lab.router if site.name == "router" else attached.lab.far
        if node is not None:
            ways[site.name] = probes.Prober(site.name, "", str(node.address), node.runner, ips=site.ips)
        sites.append(site)
    facts = tuple(service_fact(item, slices, sites) for item in services)
    dns = attached.kube.get("v1", "Service", "kube-dns", "kube-system")
    limits = kernel_limits(attached.lab.nodes[0])
    inventory = Inventory(
        families=attached.spec.families,
        nodes=node_facts(attached, {plan.node: plan.ports for plan in plans}),
        sites=tuple(sites),
        services=facts,
        environment={
            **surroundings(attached),
            "dis": disruptive,
            "neigh": bool(limits),
            "hostip": all(plan.ports.bound for plan in plans),
        },
        node_dns=dns["spec"]["clusterIP"] if dns else "",
        api=api_server(attached.kube, NAMESPACE),
    )
    return Suite(attached, found, inventory, ways, limits)


def surroundings(attached: Attached) -> dict[str, bool]:
    """Gates that a lab's surroundings open, with those of what can be done to its network."""
    variant = attached.variant
    agent = bool(network(variant).agents) and any("/DaemonSet/" in workload for workload in variant.workloads)
    return {**around(attached.lab), "agent": agent, "bare": attached.spec.provider == "namespaces"}


def outside_sites(attached: Attached) -> tuple[Site, ...]:
    """The router and the far host, where the cluster has them."""
    there = ((name, node) for name, node in (("router", attached.lab.router), ("far", attached.lab.far)) if node)
    found = ((name, _outside(attached, name, str(node.address))) for name, node in there)
    return tuple(Site(name=name, kind="outside", ip=addresses[0], ips=addresses) for name, addresses in found)


def _outside(attached: Attached, name: str, address: str) -> tuple[str, ...]:
    """Addresses of the router or of the far host, one of each family."""
    spec = attached.spec
    if len(spec.families) == 1:
        return (address,)
    each = spec.router if name == "router" else world.far_host
    return tuple(str(each(family)) for family in spec.families)


def node_facts(attached: Attached, host_ports: Mapping[str, Ports]) -> tuple[NodeFact, ...]:
    """The cluster's nodes as data.

    Args:
        attached: The cluster.
        host_ports: The ports of each node that the suite's pods take; a node that is not named has the usual ones.

    Raises:
        BringUpError: The API does not know a node.
    """
    objects = {item["metadata"]["name"]: item for item in attached.kube.list("v1", "Node")}
    missing = [node.name for node in attached.lab.nodes if node.name not in objects]
    if missing:
        msg = f"node {missing[0]} is not known to the API server"
        raise BringUpError(msg, next_step="kubectl get nodes")
    usual = Ports(bound=0)
    return tuple(
        NodeFact(
            name=node.name,
            address=str(node.address),
            addresses=_internal(objects[node.name]) or (str(node.address),),
            pod_cidr=objects[node.name]["spec"].get("podCIDR", ""),
            pod_cidrs=tuple(objects[node.name]["spec"].get("podCIDRs") or ()),
            mtu=int(node.file(f"/sys/class/net/{attached.spec.cluster_nic}/mtu")),
            host_port=host_ports.get(node.name, usual).published,
            bound_port=host_ports.get(node.name, usual).bound,
        )
        for node in attached.lab.nodes
    )


def _internal(node: Object) -> tuple[str, ...]:
    """InternalIPs that the API has for a node, in its order: the primary family first."""
    listed = node.get("status", {}).get("addresses") or ()
    return tuple(one["address"] for one in listed if one["type"] == "InternalIP")


def service_fact(item: Object, slices: Sequence[Object], sites: Sequence[Site]) -> ServiceFact:
    """A Service as data.

    Args:
        item: The Service.
        slices: Of its namespace.
        sites: Who may be an endpoint.
    """
    name = item["metadata"]["name"]
    addresses = _endpoints(slices, name)
    owners = {address: site.name for site in sites if site.kind == "pod" for address in site.ips or (site.ip,)}
    ports: list[dict[str, Any]] = item["spec"].get("ports") or []
    return ServiceFact(
        name=name,
        role=item["metadata"].get("annotations", {}).get("cnilab.dev/role", name),
        namespace=item["metadata"]["namespace"],
        cluster_ip=item["spec"].get("clusterIP") or "",
        cluster_ips=tuple(one for one in item["spec"].get("clusterIPs") or () if one != "None"),
        ports=tuple(
            ServicePort(
                name=port.get("name", ""),
                proto="udp" if port.get("protocol") == "UDP" else "tcp",
                port=port["port"],
                node_port=port.get("nodePort"),
            )
            for port in ports
        ),
        endpoints=tuple(dict.fromkeys(owners[address] for address in addresses if address in owners)),
        endpoint_ips=tuple(addresses),
        external_name=item["spec"].get("externalName", ""),
    )


def own_limits(node: Node) -> dict[str, int | bool]:
    """The neighbour limits of a node with a kernel of its own; nothing where the node cannot read them."""
    found = _limits(lambda path: node.file(f"/proc/{path}"))
    return found | {"shared": False} if found else {}


def kernel_limits(node: Node) -> dict[str, int | bool]:
    """The neighbour limits of a node's kernel, by the names of `limit_name`; nothing where nobody can read them.

    A kernel shows it in its first network namespace alone. A node that has that one has a kernel of its own; what is
    in another one shares this machine's.
    """
    if own := own_limits(node):
        return own
    found = _limits(lambda path: (PROC / path).read_text(encoding="utf-8"))
    return found | {"shared": True} if found else {}


def _limits(read: Callable[[str], str]) -> dict[str, int | bool]:
    """A machine without IPv6 has one limit."""
    found: dict[str, int | bool] = {}
    for family, path in GC_THRESH.items():
        with suppress(CommandError, OSError, ValueError):
            found[limit_name(family)] = int(read(path))
    return found
