"""Taking a driver's network off a cluster: objects, nodes' kernels and files, kube-proxy where it is not wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from harness import timeouts
from harness.cluster.kube import ApiError, Kube
from harness.cluster.plan import STOPPED
from harness.cni import charts, networks
from harness.cni.charts import Charts
from harness.cni.footprint import Footprint, removal
from harness.cni.residue import Residue
from harness.errors import NotYetError
from harness.model.labstate import LabDir
from harness.model.node import Node
from harness.probes import netstate, sandboxes
from harness.steps.lifecycle.attach import Attached

T = TypeVar("T")
Object = dict[str, Any]

PROXY = "kube-proxy"

_NETWORK_CONDITION = "NetworkUnavailable"
_STRATEGIC = "application/strategic-merge-patch+json"


def remove_objects(ready: Attached) -> None:
    """Delete what the first network has in the API: agents, then the rest, then what agents made by themselves."""
    driver = networks.network(ready.variant)
    objects = _objects(ready)
    workloads = [item for item in objects if item["kind"] in {"DaemonSet", "Deployment"}]
    # Agents first, while they still may do what their end asks of them; helm then finds the rest.
    ready.kube.delete(workloads)
    agents = [item["metadata"]["name"] for item in workloads]
    timeouts.wait_until("the agents to end", lambda: _ended(ready, agents), timeouts.ROLLOUT, interval=0.1)
    if driver.release is not None:
        Charts(_place(ready)).uninstall(driver.release)
    ready.kube.delete([item for item in objects if item not in workloads])
    ready.kube.delete(list(_made_by_agents(ready.kube, driver.footprint)))
    for node in ready.kube.list("v1", "Node"):
        _strip_node(ready.kube, node, driver.footprint)


def _place(ready: Attached) -> LabDir:
    return LabDir(ready.state, ready.spec.name)


def _objects(ready: Attached) -> list[Object]:
    """All that the network was made of, as it was installed."""
    return networks.objects(_place(ready), ready.spec, ready.variant)


def _ended(ready: Attached, agents: Sequence[str]) -> bool:
    """No node has a sandbox of an agent any more: its pod's name is the workload's and a suffix."""
    if not agents:
        return True
    prefixes = tuple(f"{name}-" for name in agents)
    running = sandboxes.of_nodes(ready.lab.nodes).select(host_network=True)
    left = [f"{one.key} on {one.node}" for one in running if one.pod.startswith(prefixes)]
    if left:
        msg = f"still running: {', '.join(left)}"
        raise NotYetError(msg)
    return True


def _made_by_agents(api: Kube, own: Footprint) -> Iterator[Object]:
    """CustomResourceDefinitions, with all objects of their kinds, and leases."""
    kinds = api.list("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    yield from (kind for kind in kinds if kind["spec"]["group"] in own.groups)
    for lease in own.leases:
        namespace, name = lease.split("/")
        metadata = {"namespace": namespace, "name": name}
        yield {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}


def _strip_node(api: Kube, node: Object, own: Footprint) -> None:
    """Annotations of the driver's, and its word on whether the network is there."""
    name = node["metadata"]["name"]
    theirs = [key for key in node["metadata"].get("annotations") or {} if key.startswith(own.annotations)]
    if theirs:
        api.patch("v1", "Node", name, {"metadata": {"annotations": dict.fromkeys(theirs)}})
    if any(one["type"] == _NETWORK_CONDITION for one in node["status"].get("conditions") or ()):
        gone = {"type": _NETWORK_CONDITION, "$patch": "delete"}
        with suppress(ApiError):  # an agent that runs writes its own
            body = {"status": {"conditions": [gone]}}
            api.raw("PATCH", f"/api/v1/nodes/{name}/status", body, content_type=_STRATEGIC)


def each(nodes: Sequence[Node], work: Callable[[Node], T]) -> list[T]:
    """Do the same on all nodes at once."""
    with ThreadPoolExecutor(max_workers=max(1, min(32, len(nodes)))) as pool:
        return list(pool.map(work, nodes))


def stop_proxy(node: Node) -> None:
    """Keep kube-proxy from starting again, end it, and have it take its own rules away."""
    path = STOPPED.format(PROXY)
    node.runner.run(["mkdir", "-p", path.rpartition("/")[0]])
    node.runner.run(["tee", path], input="the pod network does its work\n")
    node.runner.run(["pkill", "-x", PROXY], check=False)
    timeouts.wait_until(
        f"{PROXY} on {node.name} to end",
        lambda: not node.runner.run(["pidof", PROXY], check=False).ok,
        timeouts.PROCESS_EXIT,
    )
    node.runner.run([PROXY, "--cleanup"], check=False)


def start_proxy(node: Node) -> None:
    """Let kube-proxy start again; nothing happens where it runs."""
    node.runner.run(["rm", "-f", STOPPED.format(PROXY)])


def clean_nodes(ready: Attached) -> dict[str, list[str]]:
    """Remove what the driver left on all nodes, and look again: what hangs on what was removed shows only then.

    Returns:
        Commands that were run, by node.
    """
    nodes = ready.lab.nodes
    own = networks.network(ready.variant).footprint

    def clean(node: Node) -> list[str]:
        done: list[str] = []
        for _ in range(2):
            (state,) = netstate.take([node])
            for command in removal(state, own, ready.spec.pod_cidrs, ready.spec.nics):
                node.runner.run(command.argv, input=command.stdin, check=not command.may_fail)
                done.append(" ".join(command.argv))
            # A plugin that was called for a dead sandbox waits half a minute for its agent, and then writes down that
            # it could not ask. Its file is gone by now, so no other follows.
            for plugin in own.plugins:
                node.runner.run(["pkill", "-KILL", "-x", plugin], check=False)
        return done

    return dict(zip([node.name for node in nodes], each(nodes, clean), strict=True))


def left_in_api(ready: Attached) -> list[Residue]:
    """Objects of the first network that are still there."""
    driver = networks.network(ready.variant)
    records = charts.records(ready.kube, driver.release) if driver.release is not None else []
    found = []
    for item in [*_objects(ready), *records, *_made_by_agents(ready.kube, driver.footprint)]:
        metadata = item["metadata"]
        if ready.kube.get(item["apiVersion"], item["kind"], metadata["name"], metadata.get("namespace", "")):
            found.append(Residue("api", item["kind"], metadata["name"]))
    found += [
        Residue("api", "annotation", f"{node['metadata']['name']} {key}")
        for node in ready.kube.list("v1", "Node")
        for key in node["metadata"].get("annotations") or {}
        if key.startswith(driver.footprint.annotations)
    ]
    return sorted(found)
