"""Whose kernels a flow of a cluster that nobody here made needs: the nodes of its ends, as the API knows them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import Final

from harness.cluster.kube import Object
from harness.errors import PreflightError, UsageError
from harness.providers.existing.survey import NodeInfo
from harness.steps.existing.described import described_before
from harness.steps.existing.preflight import Survey
from harness.steps.suite.trace import family_for
from harness.steps.why.answer import endpoints_of, virtual_of
from harness.steps.why.ends import Question, Virtual
from harness.steps.why.look import Api

OURS: Final = frozenset({"router", "far"})
"""Machines that only clusters of ours have."""

_NAME: Final = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")
_SHOWN: Final = 10


def nodes_of(found: Survey, known: Api, question: Question) -> tuple[NodeInfo, ...]:
    """Nodes whose kernels decide on a flow, as far as the cluster's objects tell: each once, the sender's first.

    Args:
        found: What the preflight found.
        known: Services and their endpoints.
        question: The flow.

    Raises:
        UsageError: An end is not there, does not run, or is not in this family.
        PreflightError: The node of an end is not one whose kernel can be read.
    """
    source, target = question.source, question.target
    names = {*_by_name(found), *OURS}
    virtual = None if target in OURS else virtual_of(known, names, target, question.wire, question.family)
    if virtual is None:
        family_for(described_before(found), target, question.family)
    with suppress(ValueError):
        msg = f"'{ip_address(source)}' is an address: a flow must begin at a pod or a node"
        raise UsageError(msg, next_step="kubectl get pods,nodes -A -o wide")
    ends = list(filter(None, [_end(found, source)]))
    if virtual is None:
        ends += filter(None, [_end(found, target)])
    whole = [*map(_usable, ends), *_behind(found, known, virtual or _published(found, known, question))]
    return tuple(dict.fromkeys(whole))


def _by_name(found: Survey) -> dict[str, NodeInfo]:
    return {one.name: one for one in found.nodes or ()}


def _end(found: Survey, word: str) -> NodeInfo | None:
    """The node of one end; None: it is an address that no node and no pod of the cluster has."""
    if word in OURS:
        msg = f"this cluster has no '{word}': only clusters that cnilab made have one"
        raise UsageError(msg, next_step="name a pod, a node, a Service or an address")
    nodes = _by_name(found)
    if word in nodes:
        return nodes[word]
    with suppress(ValueError):
        return _holder(found, str(ip_address(word)))
    pods = _pods(found, word)
    if not pods:
        some = ", ".join(list(nodes)[:_SHOWN]) + (", …" if len(nodes) > _SHOWN else "")
        msg = f"'{word[:100]}' is not a pod, a node, a Service or an address of this cluster"
        raise UsageError(msg, cause=f"nodes: {some}", next_step="kubectl get pods,services -A -o wide")
    if len(pods) > 1:
        keys = sorted(map(_key, pods))
        msg = f"pods named '{word}' are in several namespaces"
        raise UsageError(msg, cause=", ".join(keys), next_step="give it as namespace/name")
    return _home(found, pods[0])


def _pods(found: Survey, word: str) -> list[Object]:
    """Pods of that name: one request, and few pods in its answer, however many the cluster has."""
    namespace, _, name = word.removeprefix("pod/").rpartition("/")
    if not _NAME.fullmatch(name) or not (not namespace or _NAME.fullmatch(namespace)):
        return []
    return found.kube.list("v1", "Pod", namespace, fields=f"metadata.name={name}")


def _key(pod: Object) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _home(found: Survey, pod: Object) -> NodeInfo:
    """The node that a pod runs on."""
    phase, name = (pod.get("status") or {}).get("phase", "Unknown"), pod["spec"].get("nodeName", "")
    if not name or phase in {"Succeeded", "Failed"}:
        words = f"it is {phase}" + ("" if name else ", and has no node")
        step = f"kubectl -n {pod['metadata']['namespace']} describe pod {pod['metadata']['name']}"
        msg = f"pod {_key(pod)} does not run"
        raise UsageError(msg, cause=words, next_step=step)
    node = _by_name(found).get(name)
    if node is None:
        msg = f"node {name} of pod {_key(pod)} is not known to the API server"
        raise PreflightError(msg, where=found.access.server, next_step="kubectl get nodes")
    return node


def _usable(node: NodeInfo) -> NodeInfo:
    if not node.usable:
        msg = f"the kernel of node {node.name} cannot be read"
        raise PreflightError(msg, cause=f"the node {node.obstacle}", next_step=f"kubectl describe node {node.name}")
    return node


def _holder(found: Survey, address: str) -> NodeInfo | None:
    """The node that has an address, or whose pod has it, or in whose share it is; None: nobody of the cluster's."""
    nodes = _by_name(found)
    own = next((one for one in nodes.values() if address in one.addresses), None)
    if own is not None:
        return own
    pods = found.kube.list("v1", "Pod", fields=f"status.podIP={address}")
    homes = (nodes.get(one["spec"].get("nodeName", "")) for one in pods)
    one = ip_address(address)
    shares = (node for node in nodes.values() if any(one in ip_network(cidr) for cidr in node.pod_cidrs))
    return next(filter(None, homes), None) or next(shares, None)


def _published(found: Survey, known: Api, question: Question) -> Virtual | None:
    """The Service to which a port of a node, or an address from outside, leads; None: none that is known."""
    target, port = question.target, question.wire.port if question.wire is not None else 0
    inner = port and any(target in {node.name, *node.addresses} for node in found.nodes or ())
    for item in known.services:
        spec, balancer = item["spec"], (item.get("status") or {}).get("loadBalancer") or {}
        outer = target in {*(spec.get("externalIPs") or ()), *(one.get("ip") for one in balancer.get("ingress") or ())}
        listed = spec.get("clusterIPs") or [spec.get("clusterIP")]
        address = next((one for one in listed if one and one != "None"), "")
        for one in spec.get("ports") or () if address else ():
            if (outer and port in {0, one["port"]}) or (inner and one.get("nodePort") == port):
                return Virtual(item, one, address)
    return None


def _behind(found: Survey, known: Api, virtual: Virtual | None) -> Iterator[NodeInfo]:
    """Nodes of the endpoints to which a Service's address is followed; of others nothing is said."""
    if virtual is None:
        return
    meta, nodes = virtual.item["metadata"], _by_name(found)
    homes = dict(_homes(known.slices, meta["namespace"], meta["name"]))
    for address in endpoints_of(known, virtual):
        own = next((one for one in nodes.values() if address in one.addresses), None)
        node = nodes.get(homes.get(address, "")) or own
        if node is not None and node.usable:
            yield node


def _homes(slices: Iterable[Object], namespace: str, service: str) -> Iterator[tuple[str, str]]:
    """Addresses of a Service's endpoints, and the names of their nodes."""
    for item in slices:
        meta = item["metadata"]
        if meta["namespace"] == namespace and (meta.get("labels") or {}).get("kubernetes.io/service-name") == service:
            for endpoint in item.get("endpoints") or ():
                yield from ((address, endpoint.get("nodeName") or "") for address in endpoint["addresses"])
