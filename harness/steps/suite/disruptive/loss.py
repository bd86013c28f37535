"""A node that leaves the cluster and comes back, as others see it: its Node object goes, and a new one comes.

So it is for the network's agents on all other nodes when a machine is lost and another one joins: they hear of nodes
from the API. The new object has nothing that an agent wrote, and the share of the old one, because pods of the node go
on. Its agent is started anew.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from conformance import disturbance
from conformance.families import inventory_of, planned
from conformance.inventory import NAMESPACE, Inventory, NodeFact
from harness import timeouts
from harness.cluster.kube import Object
from harness.model.family import TITLE, Family
from harness.model.outcome import Outcome
from harness.model.records import Dump, Exchange, Observation
from harness.probes.agent import run_plans
from harness.probes.lasting import Plans, StreamProbe, lasting
from harness.probes.lasting import Probe as Lasting
from harness.probes.plan import ExchangeProbe, Probe, Prober
from harness.steps.suite.deploy import Suite
from harness.steps.suite.disruptive.measure import Disturbance
from harness.steps.suite.disruptive.restart import agents, daemon_sets, node_of, ready_pod

QUICK: Final = 0.4
"""Seconds for one look at who answers, before scaling."""

KEPT: Final = ("node.alpha.kubernetes.io/ttl", "volumes.kubernetes.io/controller-managed-attach-detach")
"""Annotations that a kubelet and its controllers write; all others are an agent's."""

Row = dict[str, Any]


def observe_loss(suite: Suite, how: Disturbance) -> list[Observation]:
    """Take a node out of the cluster and put it back, under streams between pods of all other nodes.

    Args:
        suite: The deployed suite.
        how: How long to wait.
    """
    lost = disturbance.lost_node(suite.inventory)
    if not lost or not all(suite.gates.get(gate) for gate in ("agent", "ncidr", "node")):
        return []
    api = suite.attached.kube
    item = api.get("v1", "Node", lost)
    if item is None:
        return []
    before = _pods(suite, lost)
    rows = [row for family in suite.inventory.families for row in _rows(suite, lost, family)]
    with lasting(_streams(suite), batch="B8", purpose="loss") as running:
        seen = _dial(suite, "join-before")
        left = time.monotonic()
        api.delete([_named(lost)])
        try:
            _until_gone(suite, rows, how.gone, left)
            seen += _dial(suite, "join-away", expect="timeout")
        finally:
            # As a kubelet registers its node. Until then its pods have no node, and are collected after a while.
            api.apply([_anew(item)])
            came = time.monotonic()
            ended = _end_agents(suite, lost)
        back, found = _until_back(suite, lost, how, came, ended)
        seen += found
    shares = {one["metadata"]["name"]: one["spec"].get("podCIDRs") or [] for one in api.list("v1", "Node")}
    after = {"lost": lost, **back, "shares": shares, "collected": sorted(before - _pods(suite, lost))}
    dumps = [Dump(batch="B8", vantage="api", place="cluster", what=what, data=data)
             for what, data in (("node-loss", rows), ("node-join", after))]  # fmt: skip
    return [*running.seen, *seen, *dumps]


def _named(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}


def _anew(item: Object) -> Object:
    """The Node as it was when it had just been registered, with the share that it had."""
    metadata = item["metadata"]
    notes = {key: value for key, value in (metadata.get("annotations") or {}).items() if key in KEPT}
    spec = {key: value for key, value in item["spec"].items() if key in {"podCIDR", "podCIDRs", "providerID"}}
    labels = metadata.get("labels") or {}
    return {**_named(metadata["name"]), "spec": spec} | {
        "metadata": {"name": metadata["name"], "labels": labels, "annotations": notes}
    }


def _pods(suite: Suite, node: str) -> set[str]:
    """Pods of the suite on a node, each as it is: one of the same name that came later is another."""
    items = suite.attached.kube.list("v1", "Pod", NAMESPACE)
    return {f"{one['metadata']['name']} {one['metadata']['uid']}" for one in items if node_of(one) == node}


def _streams(suite: Suite) -> Plans:
    plans: dict[Prober, list[Lasting]] = {}
    for family in suite.inventory.families:
        for site, target in disturbance.bystanders(inventory_of(suite.inventory, family)):
            receiver = site.name if target.name == disturbance.SELF else ""
            plans.setdefault(suite.sites[site.name], []).append(StreamProbe(target, receiver))
    return plans


def _dial(suite: Suite, purpose: str, *, expect: Outcome = "ok") -> list[Observation]:
    """Dial both ways between the node and each other node, once."""

    def asked(there: Inventory) -> Mapping[str, Sequence[Probe]]:
        plan: dict[str, list[Probe]] = {}
        for site, target in disturbance.reunited(there):
            plan.setdefault(site.name, []).append(ExchangeProbe(target, purpose=purpose, expect=expect))
        return plan

    work = {suite.sites[name]: probes for name, probes in planned(suite.inventory, asked).items()}
    return run_plans(work, batch="B8", deadline=QUICK, retries=0)


def _rows(suite: Suite, lost: str, family: Family) -> list[Row]:
    """What each other node has of the node's share now, of a family."""
    there = inventory_of(suite.inventory, family)
    own = there.node(lost)
    found: list[Row] = []
    for node in there.nodes:
        if node.name != lost and own.pod_cidr:
            for kind in ("route", *(("fdb",) if suite.gates.get("fdb") else ())):
                row = {"node": node.name, "kind": kind, "dst": own.pod_cidr, "seconds": None}
                found.append({**row, "before": _lines(suite, node.name, kind, own, family), "left": []})
    return found


def _lines(suite: Suite, node: str, kind: str, lost: NodeFact, family: Family) -> list[str] | None:
    """Routes of a node to the share, or forwarding entries that lead to the other node; None where it cannot say."""
    runner = suite.sandboxes.node(node).runner
    if kind == "route":
        flag = {"ipv4": "-4", "ipv6": "-6"}[family]
        done = runner.run(["ip", flag, "route", "show", "root", lost.pod_cidr], check=False)
        return [line.strip() for line in done.stdout.splitlines()] if done.ok else None
    device = suite.attached.variant.expect.of(family).overlay_device or ""
    done = runner.run(["bridge", "fdb", "show", "dev", device], check=False)
    wanted = f" dst {lost.address} "
    return [line.strip() for line in done.stdout.splitlines() if wanted in f"{line} "] if done.ok else None


def _until_gone(suite: Suite, rows: list[Row], patience: float, left: float) -> None:
    """Look until no other node has anything of it, or nobody waits any longer."""
    for _ in timeouts.ticks(patience, 0.2, scale=float):
        for family in suite.inventory.families:
            own = inventory_of(suite.inventory, family).node(disturbance.lost_node(suite.inventory))
            for row in rows:
                if row["dst"] == own.pod_cidr and row["seconds"] is None:
                    row["left"] = _lines(suite, row["node"], row["kind"], own, family)
                    row["seconds"] = round(time.monotonic() - left, 3) if row["left"] == [] else None
        if all(row["seconds"] is not None for row in rows):
            return


def _end_agents(suite: Suite, node: str) -> set[str]:
    """End the agents of a node, for others to come: they write what the new Node lacks. UIDs of those that went."""
    api, workloads = suite.attached.kube, daemon_sets(suite.attached.variant.workloads)
    old = [pod for pod in agents(api, workloads) if node_of(pod) == node]
    for pod in old:
        api.raw("DELETE", api.path_of(pod), {"apiVersion": "v1", "kind": "DeleteOptions"})
    return {pod["metadata"]["uid"] for pod in old}


def _until_back(
    suite: Suite, lost: str, how: Disturbance, came: float, gone: set[str]
) -> tuple[Row, list[Observation]]:
    """Look until the node has other agents, and all get answers from it again; the last look."""
    api, workloads = suite.attached.kube, daemon_sets(suite.attached.variant.workloads)
    facts: Row = {"agent": None, "seconds": {}}
    seen: list[Observation] = []
    for _ in timeouts.ticks(how.back, 0.2, 0.5):
        here = [pod for pod in agents(api, workloads) if node_of(pod) == lost and pod["metadata"]["uid"] not in gone]
        if facts["agent"] is None and len([pod for pod in here if ready_pod(pod)]) >= len(workloads):
            facts["agent"] = round(time.monotonic() - came, 3)
        if facts["agent"] is None:
            continue  # what works until then is what the others still have of the old node
        seen = _dial(suite, "joined")
        took = round(time.monotonic() - came, 3)
        for family in suite.inventory.families:
            own = [
                one
                for one in seen
                if isinstance(one, Exchange) and one.proto == ("tcp" if family == "ipv4" else "tcp6")
            ]
            if own and all(one.outcome == "ok" for one in own):
                facts["seconds"].setdefault(TITLE[family], took)
        if len(facts["seconds"]) == len(suite.inventory.families):
            break
    return facts, seen or _dial(suite, "joined")
