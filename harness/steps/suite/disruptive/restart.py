"""Agents of all nodes that are ended at the same moment, and come back: what pods notice of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from conformance.disturbance import SELF, held, streams
from conformance.families import inventory_of
from harness import timeouts
from harness.cluster.kube import Kube
from harness.model.disturbed import Restart
from harness.model.records import Observation
from harness.probes.lasting import HoldProbe, Probe, StreamProbe, lasting
from harness.probes.plan import Prober
from harness.runner import CommandError
from harness.steps.suite.deploy import Suite
from harness.steps.suite.disruptive.measure import Disturbance

AFTERWARDS: Final = 1.0
"""Seconds that streams go on when all agents are back: what a new agent changes, it changes at its start."""

Object = dict[str, Any]


def observe_restarts(suite: Suite, how: Disturbance) -> list[Observation]:
    """Restart the agents several times, under streams both ways and connections that are held.

    Args:
        suite: The deployed suite.
        how: How often, and how long to wait.
    """
    if not suite.gates.get("agent"):
        return []
    found: list[Observation] = []
    plans = _plans(suite)
    for trial in range(how.trials):
        with lasting(plans, batch="B8", purpose="restart", trial=trial) as running:
            restarts = _restart(suite, trial, how)
            for _ in timeouts.ticks(AFTERWARDS, AFTERWARDS, AFTERWARDS):
                pass
        found += [*running.seen, *restarts]
    return found


def _plans(suite: Suite) -> Mapping[Prober, Sequence[Probe]]:
    plans: dict[Prober, list[Probe]] = {}
    for family in suite.inventory.families:
        there = inventory_of(suite.inventory, family)
        for site, target in streams(there):
            receiver = site.name if target.name == SELF else ""
            plans.setdefault(suite.sites[site.name], []).append(StreamProbe(target, receiver))
        for site, target in held(there):
            plans.setdefault(suite.sites[site.name], []).append(HoldProbe(target))
    return plans


def _restart(suite: Suite, trial: int, how: Disturbance) -> list[Restart]:
    """End the agents of all nodes, and wait until each node has another one."""
    api, nodes = suite.attached.kube, [node.name for node in suite.attached.lab.nodes]
    workloads = daemon_sets(suite.attached.variant.workloads)
    pods = list(agents(api, workloads))
    before = {node: tuple(_uid(pod) for pod in pods if node_of(pod) == node) for node in nodes}
    shares = {node: _share(suite, node) for node in nodes}
    start = time.monotonic()
    # As their own grace period has it: that is how an upgrade ends them.
    for pod in pods:
        api.raw("DELETE", api.path_of(pod), {"apiVersion": "v1", "kind": "DeleteOptions"})
    back: dict[str, tuple[float, tuple[str, ...]]] = {}
    there: list[Object] = []
    for _ in timeouts.ticks(how.back, 0.1, 0.25):
        there = list(agents(api, workloads))
        for node in nodes:
            ready = tuple(_uid(pod) for pod in there if node_of(pod) == node and ready_pod(pod))
            new = set(ready) - set(before[node])
            if node not in back and len(new) >= len(workloads):
                back[node] = (round(time.monotonic() - start, 3), tuple(sorted(new)))
        if len(back) == len(nodes):
            break
    return [
        Restart(
            batch="B8", trial=trial, trials=how.trials, src=node,
            before=before[node], after=back[node][1] if node in back else (),
            seconds=back[node][0] if node in back else None,
            waited=round(time.monotonic() - start, 3),
            seen="; ".join(_state(pod) for pod in there if node_of(pod) == node) or "no pod of the agent",
            share_before=shares[node], share_after=_share(suite, node),
        )
        for node in nodes
    ]  # fmt: skip


def daemon_sets(workloads: Sequence[str]) -> list[tuple[str, str]]:
    """Namespace and name of the workloads that every node has a pod of.

    Args:
        workloads: namespace/kind/name, as a variant names them.
    """
    parts = [workload.split("/") for workload in workloads]
    return [(namespace, name) for namespace, kind, name in parts if kind == "DaemonSet"]


def agents(api: Kube, workloads: Sequence[tuple[str, str]]) -> Iterator[Object]:
    """Pods of agents that are not about to end."""
    for namespace, name in workloads:
        for pod in api.list("v1", "Pod", namespace):
            owners = pod["metadata"].get("ownerReferences") or ()
            mine = any((one["kind"], one["name"]) == ("DaemonSet", name) for one in owners)
            if mine and not pod["metadata"].get("deletionTimestamp"):
                yield pod


def _uid(pod: Object) -> str:
    return str(pod["metadata"]["uid"])


def node_of(pod: Object) -> str:
    """Name of the node that a pod is bound to."""
    return str(pod["spec"].get("nodeName", ""))


def ready_pod(pod: Object) -> bool:
    """The API says that it is ready."""
    conditions = pod["status"].get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _state(pod: Object) -> str:
    """`kube-flannel-ds-x7k2p Pending, not ready`."""
    ready = "ready" if ready_pod(pod) else "not ready"
    return f"{pod['metadata']['name']} {pod['status'].get('phase', 'Unknown')}, {ready}"


def _share(suite: Suite, name: str) -> tuple[str, ...]:
    """What a node's share of the cluster CIDR is, by the API and by the file that the agent writes."""
    item = suite.attached.kube.get("v1", "Node", name) or {}
    said = [f"podCIDR {cidr}" for cidr in (item.get("spec") or {}).get("podCIDRs") or ()]
    notes = [suite.attached.variant.expect.of(family).agent for family in suite.inventory.families]
    node = suite.sandboxes.node(name)
    for note in notes:
        if note is None or not suite.gates.get("agentfile"):
            continue
        try:
            lines = node.file(note.file).splitlines()
        except (CommandError, OSError):
            lines = []
        said += [line for line in lines if line.startswith(f"{note.share}=")] or [f"no {note.share} in {note.file}"]
    return tuple(said)
