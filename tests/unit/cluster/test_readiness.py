"""What is up and what is not, and why: the cause that a wait ends with."""

from __future__ import annotations

from typing import Any

import pytest

from harness.cluster.readiness import NAMED, insist, insist_on_pods, unready
from harness.errors import NotYetError

Object = dict[str, Any]


def thing(kind: str, status: Object | None = None, spec: Object | None = None, **metadata: Any) -> Object:
    usual = {"replicas": 2, "nodeName": "n1", "containers": [{}]}
    item = {"kind": kind, "metadata": {"namespace": "labs", "name": "a", **metadata}, "spec": {**usual, **(spec or {})}}
    return {**item, **({"status": status} if status is not None else {})}


UP = {"phase": "Running", "podIP": "10.244.0.2", "containerStatuses": [{"ready": True}]}
WHY = "containers with unready status: [main]"
FULL = "0/2 nodes are available: 2 Too many pods"


def condition(kind: str, message: str) -> Object:
    return {"conditions": [{"type": kind, "status": "False", "message": message}]}


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (thing("Pod", UP), ""),
        (thing("Pod", {**UP, "containerStatuses": [{"ready": False}], **condition("Ready", WHY)}), WHY),
        (thing("Pod", {**UP, "containerStatuses": []}), "its phase is Running"),
        (thing("Pod", UP, {"containers": [{}, {}]}), "its phase is Running"),
        (thing("Pod", {"phase": "Pending"}), "it has no address yet on n1"),
        (thing("Pod", {"phase": "Pending"}, {"nodeName": ""}), "it has no node yet"),
        (thing("Pod", condition("PodScheduled", FULL), {"nodeName": ""}), FULL),
        (thing("Pod"), "it has no address yet on n1"),
        (thing("Pod", UP, deletionTimestamp="2026-01-01T00:00:00Z"), "it is being deleted"),
        (thing("Job", {"ready": 1}), ""),
        (thing("Job", {"succeeded": 1}), ""),
        (thing("Job", {"active": 1}), "no pod of it is ready"),
        (thing("Deployment", {"observedGeneration": 1, "readyReplicas": 2}, generation=1), ""),
        (thing("Deployment", {"observedGeneration": 1}, generation=2), "its controller has not processed it yet"),
        (thing("StatefulSet", {"readyReplicas": 1}), "1 of 2 pods are ready"),
        (thing("DaemonSet", {"desiredNumberScheduled": 3, "numberReady": 2}), "2 of 3 pods are ready"),
        (thing("DaemonSet", {"desiredNumberScheduled": 3, "numberReady": 3}), ""),
        (thing("Service"), ""),
        (thing("Service", deletionTimestamp="2026-01-01T00:00:00Z"), "it is being deleted"),
    ],
)
def test_what_is_up_and_what_is_not(item: Object, reason: str) -> None:
    assert unready(item) == reason


def test_pods_of_one_name_in_two_namespaces_are_two() -> None:
    items = [thing("Pod", UP), thing("Pod", UP, namespace="other")]
    insist_on_pods(items, {"labs/a", "other/a"})
    with pytest.raises(NotYetError) as caught:
        insist_on_pods(items, {"labs/a", "third/a", "labs/b"})
    assert (caught.value.what, caught.value.left) == ("labs/b: it does not exist; third/a: it does not exist", 2)


def test_of_many_the_first_are_named_and_all_are_counted() -> None:
    insist({})
    with pytest.raises(NotYetError) as caught:
        insist({f"p{number}": "no" for number in range(NAMED + 3)})
    assert caught.value.what.endswith("; p9: no; and 3 more")
    assert caught.value.left == NAMED + 3
