"""What a pod's status says of why it will never run."""

from __future__ import annotations

from typing import Any

import pytest

from harness.providers.existing.refusals import trouble


def pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a"}, "spec": {"nodeName": "n1"}, "status": status}


def container(**facts: Any) -> dict[str, Any]:
    return pod(phase="Running", containerStatuses=[{"name": "main", "image": "busybox:1", "ready": False, **facts}])


def ended(message: str, reason: str = "Error", restarts: int = 0) -> dict[str, Any]:
    last = {"terminated": {"exitCode": 1, "reason": reason, "message": message}}
    return container(restartCount=restarts, state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState=last)


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        (pod(phase="Failed", reason="NodePorts", message="Pod was rejected: Predicate NodePorts failed"), "port"),
        (pod(phase="Failed", reason="NodePorts", message="node(s) didn't have free ports"), "port"),
        (pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory"), "lost"),
        (pod(phase="Failed", reason="OutOfpods", message="Node didn't have enough resource: pods"), "lost"),
        (pod(phase="Failed"), "lost"),
        (ended("responder serve: none of the ports 8080 could be bound"), "port"),
        (ended("listen tcp :8080: bind: address already in use"), "port"),
        (ended("segmentation fault", restarts=2), "lost"),
        (ended('exec: "sh": executable file not found in $PATH', "StartError"), "image"),
        (container(state={"waiting": {"reason": "ImagePullBackOff", "message": "no such host"}}), "image"),
        (container(state={"waiting": {"reason": "CreateContainerConfigError", "message": "x"}}), "image"),
    ],
)
def test_a_pod_that_will_never_run_has_a_kind_of_trouble_and_a_reason(item: dict[str, Any], kind: str) -> None:
    found = trouble(item)
    assert found is not None
    assert (found.kind, found.pod, found.node) == (kind, "a", "n1")
    assert found.why
    assert "\n" not in found.reason
    assert found.error.where == "pod a"


@pytest.mark.parametrize(
    "item",
    [
        pod(),
        pod(phase="Pending"),
        container(state={"waiting": {"reason": "ContainerCreating"}}),
        container(state={"waiting": {"reason": "PodInitializing"}}),
        ended("segmentation fault", restarts=0),
        container(ready=True, state={"running": {}}, lastState={"terminated": {"exitCode": 1}}, restartCount=9),
    ],
)
def test_a_pod_that_may_still_run_has_none(item: dict[str, Any]) -> None:
    assert trouble(item) is None
