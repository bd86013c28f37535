"""Nodes without machines: Node objects of a real API server, and one loop that plays all their kubelets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Self

from harness.cluster.kube import ApiError, Kube

LABEL = "fleet"
_BEAT = 5.0
"""Seconds between two signs of life: a node without any for 40 s is not Ready."""

_LOOK = 0.3
_FACTS = ("machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "kubeletVersion", "kubeProxyVersion")
_MERGE = "application/merge-patch+json"


class Fleet:
    """Fake nodes.

    Args:
        kubeconfig: Of an administrator.
        size: How many.
    """

    def __init__(self, kubeconfig: Path, size: int) -> None:
        self.kube = Kube(kubeconfig)
        self.nodes = [_node(number) for number in range(1, size + 1)]
        self.names = {node["metadata"]["name"]: node for node in self.nodes}
        self.trouble: list[Exception] = []
        self._addresses = count(1)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kubelets")

    def __enter__(self) -> Self:
        for node in self.nodes:
            self.kube.raw("POST", "/api/v1/nodes", node)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        self._thread.join()
        for name in self.names:
            self.kube.raw("DELETE", f"/api/v1/nodes/{name}")

    def _run(self) -> None:
        beat = 0
        while not self._end.wait(_LOOK):
            try:
                beat += 1
                if beat % round(_BEAT / _LOOK) == 1:
                    self._beat()
                for pod in self.kube.list("v1", "Pod", labels="cnilab.dev/run") + self.kube.list(
                    "v1", "Pod", labels="app=cnilab-node"
                ):
                    if pod["spec"].get("nodeName") in self.names:
                        self._tend(pod)
            except ApiError as error:
                if error.status not in {404, 409}:  # somebody was faster
                    self.trouble.append(error)
                    return

    def _beat(self) -> None:
        for name in self.names:
            body = {"status": {"conditions": _conditions()}}
            self.kube.raw("PATCH", f"/api/v1/nodes/{name}/status", body, content_type=_MERGE)

    def _tend(self, pod: dict[str, Any]) -> None:
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        if meta.get("deletionTimestamp"):
            self.kube.raw("DELETE", path, {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}})
        elif pod["status"].get("phase") == "Pending":
            body = {"status": self._running(pod)}
            self.kube.raw("PATCH", f"{path}/status", body, content_type=_MERGE)

    def _running(self, pod: dict[str, Any]) -> dict[str, Any]:
        host = self.names[pod["spec"]["nodeName"]]["status"]["addresses"][0]["address"]
        number = next(self._addresses)
        address = host if pod["spec"].get("hostNetwork") else f"10.250.{number // 250}.{number % 250 + 1}"
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return {
            "phase": "Running",
            "hostIP": host,
            "podIP": address,
            "podIPs": [{"ip": address}],
            "startTime": now,
            "conditions": [{"type": kind, "status": "True"} for kind in ("Initialized", "ContainersReady", "Ready")],
            "containerStatuses": [
                {
                    "name": one["name"],
                    "image": one["image"],
                    "imageID": "",
                    "ready": True,
                    "restartCount": 0,
                    "state": {"running": {"startedAt": now}},
                }
                for one in pod["spec"]["containers"]
            ],
        }


def _conditions() -> list[dict[str, str]]:
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return [{"type": "Ready", "status": "True", "reason": "Fake", "message": "", "lastHeartbeatTime": now}]


def _node(number: int) -> dict[str, Any]:
    name = f"f{number:02}"
    labels = {LABEL: "fake", "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": f"zone-{number % 3}"}
    if number <= 3:
        labels["node-role.kubernetes.io/control-plane"] = ""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {},
        "status": {
            "addresses": [{"type": "InternalIP", "address": f"10.99.0.{number}"}],
            "allocatable": {"cpu": "8", "memory": "16Gi", "pods": "110"},
            "capacity": {"cpu": "8", "memory": "16Gi", "pods": "110"},
            "conditions": _conditions(),
            "nodeInfo": dict.fromkeys(_FACTS, "")
            | {"architecture": "amd64", "operatingSystem": "linux", "containerRuntimeVersion": "fake://1"},
        },
    }


@contextmanager
def fleet(kubeconfig: Path, size: int) -> Iterator[Fleet]:
    """Fake nodes while the body runs; fails when their kubelets did."""
    with Fleet(kubeconfig, size) as made:
        yield made
    assert made.trouble == []
