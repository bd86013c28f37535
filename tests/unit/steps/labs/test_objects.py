"""What a lab finds when it begins: its objects, whatever the labs before it took along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.cluster.kube import Kube
from harness.errors import BringUpError
from harness.steps.labs.objects import bring_back, settle

Object = dict[str, Any]


def thing(kind: str, name: str, status: Object | None = None, **metadata: Any) -> Object:
    version = {"Pod": "v1", "Service": "v1", "Job": "batch/v1"}.get(kind, "apps/v1")
    item = {"apiVersion": version, "kind": kind, "metadata": {"namespace": "labs", "name": name, **metadata}}
    return {**item, "spec": {"replicas": 2, "nodeName": "n1", "containers": [{}]}, "status": status or {}}


UP = {"phase": "Running", "podIP": "10.244.0.2", "containerStatuses": [{"ready": True}]}
WHY = "containers with unready status: [main]"
NOT_READY = [{"type": "Ready", "status": "False", "message": WHY}]
DOWN = {**UP, "containerStatuses": [{"ready": False}], "conditions": NOT_READY}


class Cluster(Kube):
    """An API that keeps objects; pods are up as soon as somebody looks again."""

    def __init__(self, *items: Object) -> None:
        super().__init__(Path("/nonexistent"))
        self.there = {(item["kind"], item["metadata"]["name"]): item for item in items}
        self.applied: list[str] = []
        self.looks = 0

    def list(self, api_version: str, kind: str, *_: str) -> Any:
        """A removed pod is there at the first look, and gone at the next."""
        assert (api_version, kind) == ("v1", "Pod")
        self.looks += 1
        pods = [item for item in self.there.values() if item["kind"] == "Pod"]
        return [pod for pod in pods if self.looks == 1 or pod["metadata"].get("deletionTimestamp") != "now"]

    def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> Object | None:
        assert (api_version, namespace) in {("v1", "labs"), ("apps/v1", "labs"), ("batch/v1", "labs")}
        return self.there.get((kind, name))

    def apply(self, objects: Any) -> Any:
        for item in objects:
            self.applied.append(item["metadata"]["name"])
            self.there[item["kind"], item["metadata"]["name"]] = {**item, "status": UP}
        return []


def test_what_is_missing_is_created_and_what_is_there_is_left_alone() -> None:
    api = Cluster(thing("Pod", "box1", UP), thing("Service", "web"))
    wanted = [thing("Service", "web"), thing("Pod", "box1"), thing("Pod", "box2")]
    assert bring_back(api, wanted) == ["Pod labs/box2"]
    assert api.applied == ["box2"]
    assert bring_back(api, wanted) == []


def test_what_does_not_come_up_is_named_with_its_reason() -> None:
    api = Cluster(
        thing("Pod", "box1", UP), thing("Pod", "box2", DOWN), thing("Deployment", "web", {"readyReplicas": 1})
    )
    wanted = [thing("Pod", "box1"), thing("Pod", "box2"), thing("Deployment", "web")]
    with pytest.raises(BringUpError, match="the objects of the lab to be up") as caught:
        bring_back(api, wanted, deadline=0.05)
    assert caught.value.cause == f"last seen: Pod labs/box2: {WHY}; Deployment labs/web: 1 of 2 pods are ready"


def test_a_lab_ends_when_the_pods_that_it_removed_are_gone() -> None:
    api = Cluster(thing("Pod", "box1", UP), thing("Pod", "doomed", UP, deletionTimestamp="now"))
    settle(api, deadline=5)
    assert api.looks == 2


def test_a_pod_that_does_not_go_is_named() -> None:
    api = Cluster(thing("Pod", "box1", UP), thing("Pod", "doomed", UP, deletionTimestamp="long ago"))
    with pytest.raises(BringUpError, match="removed pods to be gone") as caught:
        settle(api, deadline=0.05)
    assert caught.value.cause == "last seen: Pod labs/doomed: it is being removed"
