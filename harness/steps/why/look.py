"""What the kernels on the way of one flow say, read at once; and whether its packets arrive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from conformance.context import Context
from conformance.inventory import Inventory, NodeFact, ServiceFact, Site
from conformance.netfilter import Flow
from harness.cluster.kube import Kube
from harness.model.family import Family, family_of, over
from harness.model.records import Dump, Exchange
from harness.probes import kernel_state
from harness.probes.agent import run_plans
from harness.probes.plan import NODE_BINARY, ExchangeProbe, Prober, Target
from harness.probes.sandboxes import Sandbox, Sandboxes
from harness.steps.lifecycle.attach import Attached
from harness.steps.suite.deploy import node_facts, outside_sites, service_fact, surroundings
from harness.steps.suite.trace import End

SUBJECTS: Final = (
    "addr", "route", "policy-rules", "policy-rules6", "neigh", "fdb", "bridge-link", "rules-iptables",
    "rules-iptables6", "rules-nft", "rules-legacy", "rules-legacy6", "legacy-tables", "hook-devices", "programs",
    "queues", "processes", "sysctl",
)  # fmt: skip
"""All that decides on a packet's way, and nothing else."""

PATIENCE: Final = 1.2
"""Seconds for the packets of the flow itself, before scaling: round trips in a cluster take a millisecond."""

Object = dict[str, Any]


@dataclass(frozen=True)
class Api:
    """What the API says of Services.

    Args:
        services: All of them.
        slices: All EndpointSlices.
    """

    services: list[Object]
    slices: list[Object]


def api(kube: Kube) -> Api:
    """Services and their endpoints; raises BringUpError where the API does not answer."""
    with ThreadPoolExecutor(2) as pool:
        services = pool.submit(kube.list, "v1", "Service")
        slices = pool.submit(kube.list, "discovery.k8s.io/v1", "EndpointSlice")
        return Api(services.result(), slices.result())


@dataclass(frozen=True)
class Around:
    """What of a cluster is no pod and no Service.

    Args:
        nodes: The nodes whose kernels are read.
        environment: Gates that the cluster decides.
        reasons: Why some of them are closed.
    """

    nodes: tuple[NodeFact, ...]
    environment: Mapping[str, bool]
    reasons: Mapping[str, str] = field(default_factory=dict)


def ours(attached: Attached) -> Around:
    """The same of a cluster of ours, which is asked for it."""
    with ThreadPoolExecutor(2) as pool:
        facts, gates = pool.submit(node_facts, attached, {}), pool.submit(surroundings, attached)
        return Around(facts.result(), gates.result())


def as_given(attached: Attached, stock: Sandboxes, words: Iterable[str], family: Family) -> Sandboxes:
    """Sandboxes of which those that words name have the addresses that they were given, also where they lost them.

    A pod whose address is gone is still dialled at it, and that it is gone is what is to be said.

    Args:
        attached: The cluster.
        stock: As the nodes have them.
        words: Ends, as a user named them.
        family: Of the flow.
    """
    wanted = {word.removeprefix("pod/").rpartition("/") for word in words}
    known = {(namespace, name) for namespace, _, name in wanted}
    return Sandboxes(
        stock.nodes,
        tuple(
            _given(attached, one, family)
            if {("", one.pod), (one.namespace, one.pod)} & known and not one.host_network and not one.address(family)
            else one
            for one in stock.sandboxes
        ),
    )


def _given(attached: Attached, pod: Sandbox, family: Family) -> Sandbox:
    item = attached.kube.get("v1", "Pod", pod.pod, pod.namespace) or {}
    given = [str(one.get("ip")) for one in (item.get("status") or {}).get("podIPs") or ()]
    lost = tuple(one for one in given if family_of(one) == family)
    return pod.model_copy(update={"ips": (*(pod.ips or tuple(filter(None, [pod.ip]))), *lost)}) if lost else pod


def site(end: End) -> str:
    """The name of a pod among the places of a walk; empty for anything else."""
    return end.sandbox.key if end.sandbox is not None else ""


def context(
    attached: Attached, stock: Sandboxes, ends: Iterable[End], known: Api, around: Around | None = None
) -> Context:
    """The cluster as data: nodes whole, and of pods those of the flow.

    Args:
        attached: The cluster.
        stock: Its sandboxes.
        ends: Of the flow.
        known: What the API says.
        around: What is known of a cluster that nobody here made; None: it is one of ours.
    """
    pods = {end.sandbox.key: end.sandbox for end in ends if end.sandbox is not None}
    only = Sandboxes(stock.nodes, tuple(pods.values()))
    six = "ipv6" in attached.spec.families
    with ThreadPoolExecutor(1) as pool:
        dumped = pool.submit(kernel_state.dump, attached.lab, only, only=SUBJECTS, ipv6=six)
        around = around or ours(attached)
        dumps = [*map(_named, dumped.result()), *stock.dumps("B0")]
        sites = (*(_site(one) for one in pods.values()), *outside_sites(attached))
        inventory = Inventory(
            families=attached.spec.families,
            nodes=around.nodes,
            sites=sites,
            services=tuple(_services(known, sites)),
            environment=dict(around.environment),
            reasons=dict(around.reasons),
            node_dns=next((one.cluster_ip for one in _services(known, sites) if one.name == _DNS), ""),
        )
    return Context(attached.spec, attached.variant, inventory, tuple(dumps))


_DNS: Final = "kube-system/kube-dns"


def _named(dump: Dump) -> Dump:
    """Pods of several namespaces may have one name."""
    return dump.model_copy(update={"place": f"{dump.namespace}/{dump.place}"}) if dump.vantage == "pod" else dump


def _site(pod: Sandbox) -> Site:
    ips = pod.ips or (pod.ip,)
    return Site(
        name=pod.key,
        kind="pod",
        node=pod.node,
        ip=ips[0],
        ips=ips,
        namespace=pod.namespace,
        pod=pod.pod,
        host_veth=pod.host_veth,
    )


def _services(known: Api, sites: Iterable[Site]) -> Iterator[ServiceFact]:
    """Services with names that tell their namespace."""
    listed = list(sites)
    for item in known.services:
        namespace = item["metadata"]["namespace"]
        slices = [one for one in known.slices if one["metadata"]["namespace"] == namespace]
        fact = service_fact(item, slices, listed)
        yield fact.model_copy(update={"name": f"{namespace}/{fact.name}", "role": ""})


def tried(sender: End, receiver: str, flow: Flow, family: Family, *, datagrams: bool = False) -> Exchange | None:
    """The flow's own packets: whether a connection, or an echo, comes about; None: nobody has to answer a datagram.

    Args:
        sender: Who dials.
        receiver: Address.
        flow: The packet.
        family: Of the address.
        datagrams: Send datagrams, too, although nobody has to answer them.
    """
    proto, port = flow.proto, flow.dport
    if sender.runner is None or (proto == "udp" and not datagrams):
        return None
    node = sender.node.name if sender.node is not None else ""
    place = Prober(sender.name, node, sender.address, sender.runner, NODE_BINARY, (sender.address,))
    probe = ExchangeProbe(
        Target(receiver, "", receiver, port or 1),
        over("tcp" if proto == "tcp" else "udp" if proto == "udp" else "icmp", family),
        purpose="why",
        connect=proto == "tcp",
    )
    plans: Mapping[Prober, list[Any]] = {place: [probe]}
    seen = run_plans(plans, batch="why", deadline=PATIENCE, retries=1)
    return next((one for one in seen if isinstance(one, Exchange)), None)
