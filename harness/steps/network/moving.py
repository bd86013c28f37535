"""Pods that must leave a network: who they are, how they go, and how those come back that nobody else makes again.

A pod's network is made once, when its sandbox starts. To be in another network it must be made again: by its owner,
or, where it has none, from a copy of its manifest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from harness import timeouts
from harness.cluster.kube import ApiError, Kube
from harness.cluster.readiness import called, insist
from harness.errors import BringUpError, NotYetError, UsageError
from harness.model.node import Node
from harness.probes import sandboxes

Object = dict[str, Any]

TAINT: Object = {"key": "cnilab.dev/switch", "value": "in-progress", "effect": "NoSchedule"}
"""On every node while there is no network that a pod could be in."""

_GRACE = 1
"""Seconds that a pod gets to end by itself."""

_COME_AGAIN = 3
"""Times that a controller's pods may have a node by accident: the scheduler knows of the taint soon."""

_CONFLICT = 409
_SET_BY_API = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink")


def in_pod_network(pods: Iterable[Object]) -> list[Object]:
    """Pods that have a sandbox with a network of its own, or will have one."""
    return [
        pod
        for pod in pods
        if not pod["spec"].get("hostNetwork") and pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"}
    ]


def owner(pod: Object) -> Object | None:
    """Who makes the pod again when it is gone: its controller."""
    owners: list[Object] = pod["metadata"].get("ownerReferences") or []
    return next((one for one in owners if one.get("controller")), None)


def tolerates(pod: Object, taint: Object) -> bool:
    """Whether a taint keeps a pod away (k8s.io/component-helpers, ToleratesTaint)."""
    for one in pod["spec"].get("tolerations") or ():
        if one.get("effect") not in {None, "", taint["effect"]}:
            continue
        if one.get("operator") == "Exists" and one.get("key") in {None, "", taint["key"]}:
            return True
        if one.get("key") == taint["key"] and one.get("value", "") == taint["value"]:
            return True
    return False


def require_movable(pods: Iterable[Object]) -> None:
    """Refuse pods that would come back before there is a network for them.

    Raises:
        UsageError: Names them.
    """
    stubborn = [pod for pod in in_pod_network(pods) if owner(pod) and tolerates(pod, TAINT)]
    if stubborn:
        names = sorted(map(called, stubborn))
        msg = "some pods tolerate every taint: their controllers would start them while there is no pod network"
        raise UsageError(
            msg,
            cause=", ".join(names[:10]),
            next_step="remove the toleration with 'operator: Exists' and no key from their templates, or delete them",
        )


def copies(pods: Iterable[Object]) -> list[Object]:
    """Manifests of the pods that nobody makes again, fit to be posted: same name, same node, same content."""
    return [_copy(pod) for pod in in_pod_network(pods) if owner(pod) is None]


def _copy(pod: Object) -> Object:
    metadata = {key: value for key, value in pod["metadata"].items() if key not in _SET_BY_API}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod["spec"]}


def taint(api: Kube, *, on: bool) -> None:
    """Keep new pods off all nodes, or let them come again."""
    for node in api.list("v1", "Node"):
        _update(api, node["metadata"]["name"], lambda taints: [*taints, TAINT] if on else taints)


def _update(api: Kube, name: str, change: Callable[[list[Object]], list[Object]]) -> None:
    """Change a node's taints; others change them at the same time, so the version read must be the one written."""

    def attempt() -> bool:
        node = api.get("v1", "Node", name)
        if node is None:
            return True
        others = [one for one in node["spec"].get("taints") or () if one["key"] != TAINT["key"]]
        version = {"resourceVersion": node["metadata"]["resourceVersion"]}
        try:
            api.patch("v1", "Node", name, {"metadata": version, "spec": {"taints": change(others)}})
        except ApiError as error:
            if error.status == _CONFLICT:
                raise NotYetError(error.what, error.cause) from error
            raise
        return True

    timeouts.wait_until(f"the taints of node {name} to be written", attempt, timeouts.COMMAND)


def drain(api: Kube, nodes: Sequence[Node]) -> int:
    """Delete all pods of the pod network, and wait until the nodes have let go of their sandboxes.

    The old plugin must still be there: it is what takes the pods' links and leases away.

    Returns:
        How many pods there were.

    Raises:
        BringUpError: Sandboxes stay; names them.
    """
    pods = in_pod_network(api.list("v1", "Pod"))
    api.delete(pods, wait=False, grace=_GRACE)
    deleted = {pod["metadata"]["uid"] for pod in pods}
    rounds: Counter[str] = Counter()

    def gone() -> bool:
        there = {pod["metadata"]["uid"]: pod for pod in api.list("v1", "Pod")}
        # The scheduler learns of a taint a moment later, and may have given a node to a pod that came in between.
        late = [pod for pod in in_pod_network(there.values()) if pod["spec"].get("nodeName")]
        late = [pod for pod in late if pod["metadata"]["uid"] not in deleted]
        if late:
            rounds.update({str((owner(pod) or {}).get("name", pod["metadata"]["name"])) for pod in late})
            _insist_on_scheduling(late, rounds)
            api.delete(late, wait=False, grace=_GRACE)
            deleted.update(pod["metadata"]["uid"] for pod in late)
        if deleted & there.keys():
            return False
        return not sandboxes.of_nodes(nodes).select(host_network=False)

    try:
        timeouts.wait_until("all pods and their sandboxes to be gone", gone, timeouts.ROLLOUT, interval=0.1)
    except BringUpError as error:
        left = sandboxes.of_nodes(nodes).select(host_network=False)
        there = ", ".join(f"{one.key} on {one.node}" for one in left) or "pods that are still terminating"
        error.cause = "\n".join(filter(None, [error.cause, there]))
        raise
    return len(pods)


def _insist_on_scheduling(late: Iterable[Object], rounds: Mapping[str, int]) -> None:
    """A controller whose pods get nodes again and again does not ask the scheduler: no taint keeps them off."""
    stubborn = sorted({name for name, count in rounds.items() if count > _COME_AGAIN})
    if stubborn:
        names = sorted({called(pod) for pod in late})
        msg = "some pods come back on a node without a pod network: their templates name the node (nodeName)"
        raise BringUpError(
            msg,
            cause=f"{', '.join(names[:10])}, made by {', '.join(stubborn[:10])}",
            next_step="use nodeSelector or affinity in these templates, or scale them to 0 until the switch is done",
        )


def post(api: Kube, manifests: Iterable[Object]) -> list[str]:
    """Make pods again that nobody else makes, and wait until each is in the network.

    Returns:
        Their names: namespace/name.

    Raises:
        BringUpError: Some have no address in time; names them.
    """
    made = []
    for item in manifests:
        namespace = item["metadata"]["namespace"]
        try:
            api.raw("POST", f"/api/v1/namespaces/{namespace}/pods", item)
        except ApiError as error:
            if error.status != _CONFLICT:  # somebody was faster
                raise
        made.append(called(item))

    def all_have_addresses() -> bool:
        there = {called(pod) for pod in api.list("v1", "Pod") if pod["status"].get("podIP")}
        insist({name: "it has no address yet" for name in made if name not in there})
        return True

    timeouts.wait_until("pods to be in the new network", all_have_addresses, timeouts.POD_RUNNING, interval=0.1)
    return made
