"""Bring-up: from a spec to a cluster whose pods talk and whose names resolve.

What can run at the same time does: components and certificates; all machines; the control plane's start and the wiring
of nodes; the network and the cluster's DNS.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from harness import timeouts
from harness.cluster import coredns, kube
from harness.cni import networks
from harness.components.store import Store
from harness.errors import BringUpError, NotYetError
from harness.model.family import record_type
from harness.model.journal import Journal
from harness.model.labstate import LabDir
from harness.model.records import Observation
from harness.model.run import RunDir
from harness.model.spec import LabSpec
from harness.model.variant import Variant
from harness.model.wellknown import EMULATED
from harness.probes.agent import run_plans
from harness.probes.plan import LookupProbe, Prober
from harness.providers import registry
from harness.providers.needs import needs
from harness.providers.protocol import Order
from harness.steps.lifecycle import diagnosis, watchdog
from harness.steps.lifecycle.attach import Attached, attached


def bring_up(
    spec: LabSpec,
    variant: Variant,
    *,
    run: RunDir,
    journal: Journal,
    store: Store,
    state: Path,
    raise_limits: bool = False,
) -> Attached:
    """Bring a lab up.

    Args:
        spec: What it shall be.
        variant: Its CNI variant.
        run: Remembered as the lab's run directory.
        journal: Gets a step for every part.
        store: Delivers programs and images.
        state: The state directory of all labs.
        raise_limits: Machine-wide limits that are too low for the lab may be raised while it exists.

    Raises:
        CnilabError: A part failed; what was made so far is still there, for `collect`, and for `down` to remove.
    """
    place = LabDir(state, spec.name)
    order = Order(spec, variant, needs(spec, store), place, run, journal, store, raise_limits)
    ready = attached(registry.driver(spec.provider).bring_up(order), place)
    if not variant.kubernetes:
        registry.mark_ready(place, own=store.own)
        return ready
    watch = watchdog.Watchdog(place)
    with journal.step("up.api", "API server"):
        watch.until("the API server to be ready", lambda: api_ready(ready.kube), timeouts.API_READY)
    start_network(ready, journal, watchdog.Watchdog(place, ready.kube))
    registry.mark_ready(place, own=store.own)
    return ready


LATE_HOOKS = ("rbac/bootstrap-roles", "scheduling/bootstrap-system-priority-classes")
"""They sleep for a second first. Whoever is system:masters needs no role, and no pod is made before them."""


def api_ready(api: kube.Kube) -> bool:
    """The API server says that it is ready for its administrator.

    On an emulated processor all of it must be ready: the first roles have a deadline, and nothing shall be beside them.

    Raises:
        ApiError: It does not say so, or does not answer.
        NotYetError: It has yet to make its namespaces.
    """
    late = () if EMULATED in os.environ else LATE_HOOKS
    without = "&".join(f"exclude=poststarthook/{hook}" for hook in late)
    said = api.raw("GET", f"/readyz?{without}", timeout=5.0)
    if said != "ok":
        msg = f"GET /readyz: the API server says {said!r}"
        raise NotYetError(msg)
    # A hook starts its making, and no check waits for that; it took less than the roles until now.
    if api.get("v1", "Namespace", "kube-system") is None:
        msg = "there is no namespace kube-system"
        raise NotYetError(msg)
    return True


def start_network(ready: Attached, journal: Journal, watch: watchdog.Watchdog, stage: str = "up") -> None:
    """Give a cluster without one its pod network, and wait until it works.

    Args:
        ready: The lab; its API answers.
        journal: Gets a step for every part.
        watch: Waits for them.
        stage: First word of the steps' names.

    Raises:
        BringUpError: A part did not come up in time; says what the agents said last, and what doctor says of it.
    """
    try:
        _start_network(ready, journal, watch, stage)
    except kube.ApiError:
        raise  # no agent is to blame for what the client and the API server say to each other
    except BringUpError as error:
        raise diagnosis.diagnose(error, ready) from error.__cause__


def _start_network(ready: Attached, journal: Journal, watch: watchdog.Watchdog, stage: str) -> None:
    names = set(ready.spec.node_names)
    early = networks.network(ready.variant).configure is None
    with ThreadPoolExecutor() as pool:
        # CoreDNS needs no node to be applied; its pod is scheduled when the first node is ready.
        dns = pool.submit(ready.kube.apply, coredns.manifests(ready.spec))
        # Agents that wait for what they need by themselves start as soon as there is a node to start on.
        network = pool.submit(_apply_network, ready, ()) if early else None
        with journal.step(f"{stage}.nodes", f"{len(names)} nodes registered, each with a podCIDR"):
            nodes = watch.until(
                "every node to be registered with a podCIDR",
                lambda: _registered(ready, names),
                timeouts.NODE_REGISTERED,
            )
        dns.result()
    with journal.step(f"{stage}.cni", ready.variant.title):
        if network is None:
            _apply_network(ready, nodes)
        else:
            network.result()
    with journal.step(f"{stage}.ready", "nodes Ready"):
        watch.until("every node to be Ready", lambda: _nodes_ready(ready, names), timeouts.NODE_READY)
    with journal.step(f"{stage}.rollout", "workloads rolled out"):
        for workload in (*ready.variant.workloads, "kube-system/Deployment/coredns"):
            done = functools.partial(_rolled_out, ready, workload)
            watch.until(f"{workload} to be rolled out", done, timeouts.ROLLOUT)
    with journal.step(f"{stage}.dns", "cluster DNS answers"):
        watch.until("the cluster's DNS to answer a node", lambda: _dns_answers(ready), timeouts.DNS_ANSWERS)


def _apply_network(ready: Attached, nodes: Sequence[dict[str, Any]]) -> None:
    """Manifests or a chart for agents, commands on nodes for the rest.

    Args:
        ready: The lab.
        nodes: Its Node objects; may be empty for a driver that does not wait for them.
    """
    driver = networks.network(ready.variant)
    networks.install(LabDir(ready.state, ready.spec.name), ready.spec, ready.variant, ready.kube)
    if driver.configure is not None:
        driver.configure(ready.spec, ready.variant, ready.lab.nodes, nodes)


def _registered(ready: Attached, names: set[str]) -> list[dict[str, Any]]:
    there = ready.kube.list("v1", "Node")
    nodes = [node for node in there if node["spec"].get("podCIDR")]
    missing = names - {node["metadata"]["name"] for node in nodes}
    if missing:
        known = {node["metadata"]["name"] for node in there}
        states = (f"{name} {'has no podCIDR' if name in known else 'is not registered'}" for name in sorted(missing))
        raise NotYetError("; ".join(states), left=len(missing))
    return nodes


def _nodes_ready(ready: Attached, names: set[str]) -> bool:
    conditions = {
        node["metadata"]["name"]: condition
        for node in ready.kube.list("v1", "Node")
        for condition in node["status"].get("conditions", ())
        if condition["type"] == "Ready"
    }
    waiting = {name: conditions.get(name, {}) for name in sorted(names)}
    states = [
        f"{name} is not Ready: {condition.get('message') or 'kubelet has not given a reason'}"
        for name, condition in waiting.items()
        if condition.get("status") != "True"
    ]
    if states:
        raise NotYetError("; ".join(states), left=len(states))
    return True


def _rolled_out(ready: Attached, workload: str) -> bool:
    namespace, kind, name = workload.split("/")
    item = ready.kube.get("apps/v1", kind, name, namespace)
    if item is None:
        msg = f"there is no {workload}"
        raise NotYetError(msg)
    status = item["status"]
    if status.get("observedGeneration", 0) < item["metadata"]["generation"]:
        msg = "its controller has not processed it yet"
        raise NotYetError(msg)
    if kind == "DaemonSet":
        wanted, now = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
        done = 0 < wanted == now == status.get("updatedNumberScheduled", 0)
    else:
        wanted, now = item["spec"]["replicas"], status.get("availableReplicas", 0)
        done = now == wanted
    if not done:
        msg = f"{now} of {wanted} pods are ready"
        raise NotYetError(msg, left=wanted - now)
    return True


def _dns_answers(ready: Attached) -> bool:
    """A node asks the DNS Service's virtual address for a name that every cluster has."""
    node = ready.lab.nodes[0]
    site = Prober(name=node.name, node=node.name, ip=str(node.address), runner=node.runner)
    probe = LookupProbe(
        f"kubernetes.default.svc.{ready.spec.services.domain}.",
        record_type(ready.spec.primary),
        server=str(ready.spec.services.dns_address(ready.spec.primary)),
    )
    answers = run_plans({site: [probe]}, batch="up", deadline=0.5, retries=0)
    if not any(getattr(answer, "answers", ()) for answer in answers):
        raise NotYetError("; ".join(map(_said, answers)) or "the probe printed nothing")
    return True


def _said(answer: Observation) -> str:
    """How a question ended that got no address."""
    outcome, detail = getattr(answer, "outcome", "no answer"), getattr(answer, "detail", "")
    return ": ".join(filter(None, ["the query ended with", str(outcome), str(detail)]))
