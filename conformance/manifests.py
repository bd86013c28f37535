"""The objects that the suite deploys, as data: pods on every node, and a Service for each question about Services."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice, product
from string import ascii_lowercase
from typing import Any, Final

from conformance.inventory import BOUND_PORT, HOST_PORT, NAMESPACE
from conformance.tables import ports
from harness.model.family import TITLE, Family, family_of
from harness.model.spec import LabSpec
from harness.model.world import RESPONDER_PORT, ZONE

IMAGE: Final = "cnilab.dev/responder:1"
PODS_PER_NODE: Final = 2
SIBLING_PORT: Final = 8081
"""Where the second container of a two-container pod listens."""

NOBODY: Final = 65534
"""The user of that second container: one that owns nothing."""

VIP_PORT: Final = 80
CROWD: Final = 60
"""Endpoints of the Service whose DNS answer is larger than 1232 bytes."""

SOLE: Final = 4
"""At most so many Services with one backend each: one per node, in the order of the nodes."""

Object = dict[str, Any]


@dataclass(frozen=True)
class Ports:
    """Ports of a node that the suite takes; others where somebody else has these.

    Args:
        published: The host port of pods.
        own: Where the host-network pod listens.
        bound: The host port that pods have for one address of the node alone; 0: they have none.
    """

    published: int = HOST_PORT
    own: int = RESPONDER_PORT
    bound: int = BOUND_PORT


@dataclass(frozen=True)
class PodPlan:
    """A pod that the suite deploys.

    Args:
        name: Short name, in every leg: `a`, `h1`.
        node: Where it runs.
        host_network: It shares the node's network namespace.
        containers: Names of its containers; the first runs the probes.
        host_port: Protocol for which it has the host port; empty for none.
        ports: Of its node.
        addresses: Of its node, where it has a host port of one of them.
    """

    name: str
    node: str
    host_network: bool = False
    containers: tuple[str, ...] = ("main",)
    host_port: str = ""
    ports: Ports = Ports()
    addresses: tuple[str, ...] = ()

    @property
    def port(self) -> int:
        """Where its responder listens."""
        return self.ports.own if self.host_network else RESPONDER_PORT


def pod_names() -> Iterator[str]:
    """`a` to `z`, then `aa`, `ab`, …."""
    for length in count(1):
        for letters in product(ascii_lowercase, repeat=length):
            yield "".join(letters)


def pod_plans(spec: LabSpec, ports: Mapping[str, Ports] | None = None) -> tuple[PodPlan, ...]:
    """Two pods and a host-network pod for every node; the first pod of a node has two containers.

    Args:
        spec: The lab.
        ports: Of nodes where they are not the usual ones.
    """
    usual = Ports()
    names = iter(islice(pod_names(), PODS_PER_NODE * spec.nodes))
    plans: list[PodPlan] = []
    for number, node in enumerate(spec.node_names, start=1):
        here = (ports or {}).get(node, usual)
        own = tuple(map(str, spec.all_addresses(node))) if here.bound else ()
        double = ("main", "sibling")
        plans.append(PodPlan(next(names), node, containers=double, host_port="UDP", ports=here, addresses=own))
        more = range(PODS_PER_NODE - 1)
        plans += [PodPlan(next(names), node, host_port="TCP", ports=here, addresses=own) for _ in more]
        plans.append(PodPlan(f"h{number}", node, host_network=True, ports=here))
    return tuple(plans)


def firsts(spec: LabSpec) -> tuple[PodPlan, ...]:
    """The first pod of each node."""
    found: dict[str, PodPlan] = {}
    for plan in pod_plans(spec):
        if not plan.host_network:
            found.setdefault(plan.node, plan)
    return tuple(found.values())


def namespace() -> Object:
    """The suite's namespace; everything of the suite is in it, so that one deletion removes it all."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"app.kubernetes.io/managed-by": "cnilab"}},
    }


def account() -> Object:
    """The namespace's default account; made here, because pods cannot be admitted before the controller does it."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": NAMESPACE}}


def pods(spec: LabSpec, ports: Mapping[str, Ports] | None = None) -> list[Object]:
    """All pods.

    Args:
        spec: The lab.
        ports: Of nodes where they are not the usual ones.
    """
    last = firsts(spec)[-1].name
    return [pod(plan, only=plan.name == last) for plan in pod_plans(spec, ports)]


def pod(plan: PodPlan, *, only: bool = False) -> Object:
    """One pod.

    Args:
        plan: What it shall be.
        only: It is the one endpoint of Services that look at where it is.
    """
    labels = {"app": "probe", "pod": plan.name, "net": "host" if plan.host_network else "pod"}
    if only:
        labels["last"] = "yes"
    spec: Object = {
        "nodeName": plan.node,
        "hostNetwork": plan.host_network,
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "tolerations": [{"operator": "Exists"}],
        "containers": [_container(plan, name) for name in plan.containers],
    }
    if plan.host_network:
        spec["dnsPolicy"] = "ClusterFirstWithHostNet"
    else:
        spec |= {"hostname": plan.name, "subdomain": "headless"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": plan.name, "namespace": NAMESPACE, "labels": labels},
        "spec": spec,
    }


def _container(plan: PodPlan, name: str) -> Object:
    listen: tuple[int, ...]
    if name == "sibling":
        listen, token = (SIBLING_PORT,), f"{plan.name}-sibling"
    elif plan.host_network:
        listen, token = (plan.port,), plan.name
    else:
        listen, token = tuple(sorted({RESPONDER_PORT, *ports()})), plan.name
    # It only listens, so that it can be anybody: an image whose files only root may read is noticed here. A capability
    # would let it in: they last until its program is found and started.
    anybody: Object = {"runAsUser": NOBODY, "runAsGroup": NOBODY, "runAsNonRoot": True}
    anybody |= {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {
        "name": name,
        "ports": _declared(plan) if name == "main" else [],
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "args": ["serve", "--name", token, "--ports", ",".join(map(str, listen))],
        **({"securityContext": anybody} if name == "sibling" else {}),
        "resources": {"requests": {"cpu": "1m", "memory": "4Mi"}},
    }


def _declared(plan: PodPlan) -> list[Object]:
    """Ports of the node that a pod takes. Whoever declares them is told when somebody else has them."""
    if plan.host_network:
        both = ("TCP", "UDP")
        return [{"containerPort": plan.port, "hostPort": plan.port, "protocol": protocol} for protocol in both]
    if plan.host_port:
        number = plan.ports.published
        return [{"containerPort": plan.port, "hostPort": number, "protocol": plan.host_port}, *_bound(plan)]
    return []


BOUND_TO: Final[Mapping[Family, int]] = {"ipv4": 80, "ipv6": 443}
"""Where the host ports of one address lead to in a pod: to another port each, as the API knows ports by theirs."""


def _bound(plan: PodPlan) -> Iterator[Object]:
    """One number that two pods of a node share: by protocol, and the TCP port also by address.

    The first pod has the port of the node's addresses for UDP, and that of 127.0.0.1 for TCP; the second one has the
    port of the node's addresses for TCP. IPv6 has no address beside the node's own that plugins translate.
    """
    for address in plan.addresses:
        inside = BOUND_TO[family_of(address)]
        yield _mapping(inside, plan.ports.bound, plan.host_port, address)
    if plan.host_port == "UDP" and any(family_of(address) == "ipv4" for address in plan.addresses):
        yield _mapping(BOUND_TO["ipv4"], plan.ports.bound, "TCP", "127.0.0.1")


def _mapping(inside: int, number: int, protocol: str, address: str) -> Object:
    return {"containerPort": inside, "hostPort": number, "protocol": protocol, "hostIP": address}


def services(spec: LabSpec) -> list[Object]:
    """One Service per question; the annotation `cnilab.dev/role` says which."""
    every = {"app": "probe", "net": "pod"}
    found = [
        _service("spread", every, named=True),
        _service("vip-empty", {"app": "nobody"}),
        _service("nodeport", every, kind="NodePort"),
        _service("etp-local", {"last": "yes", "net": "pod"}, kind="NodePort", externalTrafficPolicy="Local"),
        _service("itp-local", {"last": "yes", "net": "pod"}, internalTrafficPolicy="Local"),
        _service("affinity", every, sessionAffinity="ClientIP"),
        _service("headless", every, clusterIP="None", named=True),
        _service("vacant", {"app": "nobody"}, clusterIP="None"),
        _service("crowd", None, clusterIP="None"),
        _service("moving", None),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _meta("external"),
            "spec": {"type": "ExternalName", "externalName": f"www.{ZONE}"},
        },
    ]
    found += [_service(f"sole-{plan.name}", {"app": "probe", "pod": plan.name}) for plan in firsts(spec)[:SOLE]]
    return found if len(spec.families) == 1 else [_in_both(service) for service in found]


def _in_both(service: Object) -> Object:
    """A Service with an address in each family, the primary one first (KEP-563)."""
    if service["spec"].get("type") == "ExternalName":
        return service
    return service | {"spec": service["spec"] | {"ipFamilyPolicy": "RequireDualStack"}}


def _service(
    name: str, selector: dict[str, str] | None, *, kind: str = "ClusterIP", named: bool = False, **extra: str
) -> Object:
    web, datagrams = ("web", "datagrams") if named else ("tcp", "udp")
    spec: Object = {
        "type": kind,
        "ports": [
            {"name": web, "protocol": "TCP", "port": VIP_PORT, "targetPort": RESPONDER_PORT},
            {"name": datagrams, "protocol": "UDP", "port": VIP_PORT, "targetPort": RESPONDER_PORT},
        ],
        **extra,
    }
    if selector is not None:
        spec["selector"] = selector
    return {"apiVersion": "v1", "kind": "Service", "metadata": _meta(name), "spec": spec}


def _meta(name: str) -> Object:
    return {"name": name, "namespace": NAMESPACE, "annotations": {"cnilab.dev/role": name}}


def crowd_addresses(family: Family) -> list[str]:
    """Addresses of a documentation range (RFC 5737, RFC 3849), as many as the large DNS answer has."""
    network = ipaddress.ip_network("203.0.113.0/24" if family == "ipv4" else "2001:db8:c0de::/120")
    return [str(network[number]) for number in range(1, CROWD + 1)]


def moving_slices(addresses: Sequence[str]) -> list[Object]:
    """The only endpoint of `moving`, a Service that is moved from one pod to another while it is used.

    Args:
        addresses: Of the pod, one of each family.
    """
    return [_slice("moving", [address], ("TCP", "UDP")) for address in addresses]


def endpoint_slices(spec: LabSpec) -> list[Object]:
    """The endpoints of `crowd`, which no pod backs: only its DNS answer matters."""
    return [_slice("crowd", crowd_addresses(family), ("TCP",)) for family in spec.families]


def _slice(service: str, addresses: Sequence[str], protocols: Sequence[str]) -> Object:
    family = family_of(addresses[0])
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service}-{'1' if family == 'ipv4' else 'ipv6'}",
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": service, "app.kubernetes.io/managed-by": "cnilab"},
        },
        "addressType": TITLE[family],
        "ports": [{"name": name.lower(), "protocol": name, "port": RESPONDER_PORT} for name in protocols],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
    }


def objects(spec: LabSpec, ports: Mapping[str, Ports] | None = None) -> list[Object]:
    """Everything the suite deploys, namespace first.

    Args:
        spec: The lab.
        ports: Of nodes where they are not the usual ones.
    """
    return [namespace(), account(), *services(spec), *endpoint_slices(spec), *pods(spec, ports)]
