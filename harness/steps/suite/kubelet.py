"""What kubelets see of pods that they probe: before a policy that lets nobody reach these pods, and under it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from conformance import kubelet
from conformance.inventory import NAMESPACE, Site
from conformance.kubelet import OVER, PATIENT, PROBES, WITHOUT
from harness import timeouts
from harness.cluster.kube import ApiError, Object
from harness.model.records import Dump, Exchange
from harness.model.world import RESPONDER_PORT
from harness.probes.agent import run_plans
from harness.probes.plan import ExchangeProbe, Target
from harness.steps.suite.deploy import Suite

CHECK: Final = "model.kubelet-probe"

QUICK: Final = 0.4
"""Seconds for one dial, before scaling."""

LOOK: Final = 30.0
"""Seconds until kubelets have probed often enough, before scaling."""

Look = dict[str, Any]


@dataclass
class _Pod:
    """A pod that is probed.

    Args:
        node: Where it is.
        name: Of the pod.
        ip: Its address, once it has one.
        uid: Its own, once it is there.
        seen: What the record will say.
    """

    node: str
    name: str
    ip: str = ""
    uid: str = ""
    seen: dict[str, Any] = field(default_factory=dict)


def observe_kubelet(suite: Suite, deadline: float) -> list[Dump]:
    """Make a pod on each node, and look at its kubelet's probes before and under a policy that denies all.

    Args:
        suite: The deployed suite.
        deadline: Seconds until the policy must be enforced, before scaling.
    """
    enforcing = "np" in suite.attached.variant.gates
    nodes = [node.name for node in suite.inventory.nodes]
    made = [_Pod(node, name) for node, name in kubelet.names(nodes).items()]
    objects, policy = kubelet.pods(nodes), kubelet.deny_all()
    kube = suite.attached.kube
    try:
        kube.delete([policy], wait=False)  # a run that was killed may have left it
        kube.apply(objects)
        before = _until_probed(suite, made)
        outcomes = {"open": _dials(suite, made)}
        kube.apply([policy])
        outcomes["shut"] = _shut(suite, made, deadline) if enforcing else _dials(suite, made)
        _under(suite, made, before, outcomes)
    finally:
        kube.delete([policy], wait=False)
        # With their own time to end: their node has taken them away when the API has.
        kube.delete(objects, grace=1)
    data = {"enforcing": enforcing, "pods": {one.node: one.seen for one in made}}
    return [Dump(batch="B6", vantage="api", place="cluster", what=kubelet.WHAT, data=data)]


def _until_probed(suite: Suite, made: list[_Pod]) -> dict[str, Look]:
    """Look until each pod is ready, or has been probed often enough to say that it does not get ready."""
    last: dict[str, Look] = {}
    for _ in timeouts.ticks(timeouts.POD_RUNNING, 0.25, 0.5):
        last = _look(suite, made)
        if all(_settled(last[one.node]) for one in made):
            break
    return last


def _settled(look: Look) -> bool:
    ready, probes = look.get("ready") or {}, look.get("probes") or {}
    if not ready.get(WITHOUT):
        return False
    return all(ready.get(one) or (probes.get(one) or {}).get("failed", 0) >= PROBES for one in OVER)


def _under(
    suite: Suite, made: list[_Pod], early: Mapping[str, Look], outcomes: Mapping[str, Mapping[str, str]]
) -> None:
    """Look until all have been probed under the policy; what they were before it is told with the counts of now."""
    start = _look(suite, made)
    last = start
    for _ in timeouts.ticks(LOOK, 0.5):
        last = _look(suite, made)
        if all(_often(start[one.node], last[one.node]) for one in made):
            break
    said = _events(suite, made)
    for one in made:
        looks = {"before": {**start[one.node], "ready": early[one.node].get("ready")}, "under": last[one.node]}
        one.seen = {"ip": one.ip, **looks, "events": said[one.name]}
        one.seen |= {when: outcomes[when].get(one.node, "error") for when in outcomes}
        if why := next((look["error"] for look in looks.values() if "error" in look), ""):
            one.seen = {"error": why}


def _often(start: Look, now: Look) -> bool:
    patient = kubelet.ended(start, now, WITHOUT) >= PATIENT
    return patient or all(kubelet.ended(start, now, one) >= PROBES for one in OVER)


def _look(suite: Suite, made: list[_Pod]) -> dict[str, Look]:
    """Which containers are ready, and how many of their probes have ended: as the API and each kubelet say."""
    kube = suite.attached.kube
    items = {item["metadata"]["name"]: item for item in kube.list("v1", "Pod", NAMESPACE, labels="app=probed")}
    found: dict[str, Look] = {}
    for one in made:
        item = items.get(one.name) or {"metadata": {"uid": ""}, "status": {}}
        one.uid = item["metadata"]["uid"]
        one.ip = item["status"].get("podIP") or one.ip
        states = item["status"].get("containerStatuses") or ()
        found[one.node] = {"ready": {state["name"]: state["ready"] for state in states}}
        try:
            text = kube.raw("GET", f"/api/v1/nodes/{one.node}/proxy/metrics/probes")
        except ApiError as error:
            found[one.node]["error"] = str(error)
            continue
        found[one.node]["probes"] = {name: dict(count) for name, count in kubelet.counted(text, one.uid).items()}
    return found


def _events(suite: Suite, made: list[_Pod]) -> dict[str, list[tuple[str, str]]]:
    """What kubelets say of probes that failed, the last of each container first."""
    items = suite.attached.kube.list("v1", "Event", NAMESPACE, fields="reason=Unhealthy")
    items.sort(key=lambda item: str(item.get("lastTimestamp") or ""), reverse=True)
    owners = {one.uid: one.name for one in made}
    found: dict[str, list[tuple[str, str]]] = {one.name: [] for one in made}
    for item in items:
        about = item["involvedObject"]
        if about.get("uid") in owners:
            found[owners[about["uid"]]].append((_container(about), str(item.get("message", ""))))
    return found


def _container(about: Object) -> str:
    """`spec.containers{http}` names the container http."""
    return str(about.get("fieldPath", "")).partition("{")[2].rstrip("}")


def _neighbour(suite: Suite, node: str) -> Site | None:
    """A pod of the same node: a policy that denies all keeps it away, too."""
    return next(iter(suite.inventory.on(node)), None)


def _dials(suite: Suite, made: list[_Pod]) -> dict[str, str]:
    """What a pod of the same node gets from each, by node."""
    work = {
        suite.sites[site.name]: [ExchangeProbe(Target(one.name, one.node, one.ip, RESPONDER_PORT), purpose="kubelet")]
        for one in made
        if one.ip and (site := _neighbour(suite, one.node)) is not None
    }
    seen = run_plans(work, batch="B6", deadline=QUICK, retries=0)
    return {one.dst_node: one.outcome for one in seen if isinstance(one, Exchange)}


def _shut(suite: Suite, made: list[_Pod], deadline: float) -> dict[str, str]:
    """Dial until nobody answers: then the policy is enforced on all nodes."""
    seen: dict[str, str] = {}
    for _ in timeouts.ticks(deadline, 0.1):
        seen = _dials(suite, made)
        if "ok" not in seen.values():
            break
    return seen
