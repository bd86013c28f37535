"""weave's failure lab, against a cluster that is not there: what upstream's plugin says, and what the lab makes of it.

The words are those of plugin/net/cni.go and api/weaveapi.go of weave 2.9.0; Go's HTTP client adds the end.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.cni import catalogue
from harness.cni.weave import manifests
from harness.model import labfile
from harness.model.records import LabStep
from harness.model.spec import LabSpec
from harness.runner import Completed
from harness.steps.labs.choose import ability, lacking
from harness.steps.labs.run import LabRun
from tests.unit.probes import fake
from tests.unit.steps.labs.conftest import FakeCluster, said

LAB = next(lab for lab in labfile.read_all() if lab.id == "weave-agent-down")
VARIANT = catalogue.variant("weave")
SPEC = LabSpec(cni="weave")

REFUSED = (
    'Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "5f0c": '
    'plugin type="weave-net" name="weave" failed (add): unable to allocate IP address: '
    'Post "http://127.0.0.1:6784/ip/5f0c": dial tcp 127.0.0.1:6784: connect: connection refused'
)
POD = {"metadata": {"name": "app", "uid": "u1"}, "spec": {"nodeName": "n2"}}
WAITS = {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}


class WeaveCluster(FakeCluster):
    """Two nodes with weave; `event` is what kubelet says of a pod while no router runs."""

    def __init__(self, event: str = REFUSED, *, comes_back: bool = True) -> None:
        super().__init__(self._say)
        self.event = event
        self.comes_back = comes_back
        self.routers = True
        self.applied: list[dict[str, Any]] = []

    def facts(self, namespace: str) -> dict[str, Any]:
        found = super().facts(namespace)
        for index, node in enumerate(found["node_list"]):
            node.update(ready=True, pod_cidr=f"10.244.{index}.0/24")
        found["pods"] = {"app": {"name": "app", "uid": "u1"}}
        spec, variant = SPEC.model_dump(mode="json"), VARIANT.model_dump(mode="json")
        return {**found, "spec": spec, "variant": variant}

    def _say(self, place: str, argv: tuple[str, ...]) -> Completed:
        words = " ".join(argv)
        if place != "operator":
            return self._on_node(words)
        if "kubectl apply" in words or "delete daemonset" in words:
            return self._changed(argv)
        answers: dict[str, Any] = {
            "get daemonset": {**manifests.manifests(SPEC, VARIANT)[-1], "status": {"numberReady": 2}},
            "get events": {"items": [{"involvedObject": {"uid": "u1"}, "message": self.event, "count": 3}]},
            "get pods": {"items": [{}, {}] if self.routers else []},
            "get pod app": {**POD, "status": WAITS},
            "wait pod/app": {**POD, "status": {"phase": "Running", "podIP": "10.244.192.1"}},
            "rollout": 'daemon set "weave-net" successfully rolled out',
        }
        return said(json.dumps(next((answer for key, answer in answers.items() if key in words), "")))

    def _on_node(self, words: str) -> Completed:
        if words.startswith("ss"):
            return said("LISTEN 0 4096 127.0.0.1:6784 0.0.0.0:*\n" if self.routers else "")
        return said("/etc/cni/net.d:\n10-weave.conflist\n\n/opt/cni/bin:\nloopback\nweave-ipam\nweave-net\n")

    def _changed(self, argv: tuple[str, ...]) -> Completed:
        if "apply" in argv:
            self.applied.append(json.loads(self.inputs[argv] or ""))
        self.routers = "apply" in argv and self.comes_back
        return said()


def run(cluster: FakeCluster, folder: Path) -> dict[str, LabStep]:
    made = LabRun(LAB, cluster, folder / "labs", folder, lambda _: None).run()
    return {f"{one.step}:{index}": one for index, one in enumerate(made)}


def wrong(steps: dict[str, LabStep]) -> set[str]:
    return {one.step for one in steps.values() if one.status in {"fail", "error"}}


def test_the_refusal_of_upstreams_plugin_is_what_the_lab_expects(tmp_path: Path) -> None:
    steps = run(WeaveCluster(), tmp_path)
    assert wrong(steps) == set()
    assert {one.status for one in steps.values()} == {"pass", "record"}


def test_the_manifest_that_repairs_is_the_one_that_was_there(tmp_path: Path) -> None:
    cluster = WeaveCluster()
    run(cluster, tmp_path)
    (applied,) = cluster.applied
    assert applied == manifests.manifests(SPEC, VARIANT)[-1]


@pytest.mark.parametrize(
    "event",
    [
        REFUSED.replace("connection refused", "i/o timeout"),
        REFUSED.replace("weave-net", "bridge"),
        REFUSED.replace("http://127.0.0.1:6784", "http://10.0.0.1:6784"),
    ],
)
def test_another_cause_is_not_taken_for_this_one(event: str, tmp_path: Path) -> None:
    assert wrong(run(WeaveCluster(event), tmp_path)) == {"event"}


def test_a_router_that_does_not_come_back_fails_the_lab(tmp_path: Path) -> None:
    assert wrong(run(WeaveCluster(comes_back=False), tmp_path)) == {"answers"}


def test_whatever_happens_the_daemonset_is_put_back(tmp_path: Path) -> None:
    cluster = WeaveCluster()
    answer = cluster.answer
    cluster.answer = lambda place, argv: said("", 1) if "run" in argv and "app" in argv else answer(place, argv)
    run(cluster, tmp_path)
    assert cluster.routers


@pytest.mark.parametrize("name", catalogue.names())
def test_the_lab_is_offered_where_weave_is_the_network_and_nowhere_else(name: str) -> None:
    nodes = tuple(fake.node(one, f"172.18.0.1{one[1:]}", lambda *_: "tcpdump version 4.99") for one in ("n1", "n2"))
    there = SimpleNamespace(variant=catalogue.variant(name), spec=LabSpec(cni=name), lab=fake.FakeLab(nodes))
    reason = lacking(LAB.needs, ability(there))  # type: ignore[arg-type]
    assert (reason == "") == (catalogue.variant(name).driver == "weave")
    assert reason == "" or "needs driver weave" in reason
