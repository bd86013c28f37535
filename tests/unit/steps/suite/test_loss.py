"""A node that was taken out of the cluster is put back, whatever ends the look, and as a kubelet registers it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from harness import timeouts
from harness.model.records import Dump
from harness.runner import Completed
from harness.steps.suite.disruptive import loss
from harness.steps.suite.disruptive.measure import Disturbance
from tests.unit.conformance import simlab

NOTES = {"node.alpha.kubernetes.io/ttl": "0", "agent.example/tunnel": "here"}
WORKLOADS = ("net/DaemonSet/agent",)


class Cluster:
    """Nodes, an agent on each, and what n1's kernel has of n2 while n2 is there.

    Args:
        forgets: n1 does when n2 leaves.
    """

    def __init__(self, *, forgets: bool = True) -> None:
        spec = {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"], "taints": [{"key": "not-ready"}]}
        metadata = {"name": "n2", "uid": "1", "labels": {"zone": "x"}, "annotations": NOTES}
        self.nodes: dict[str, Any] = {"n2": {"kind": "Node", "metadata": metadata, "spec": spec}}
        self.forgets, self.agents, self.log = forgets, 1, list[str]()

    def get(self, _: str, __: str, name: str) -> Any:
        return self.nodes.get(name)

    def list(self, _: str, kind: str, namespace: str = "", **__: Any) -> list[Any]:
        if kind == "Node":
            return [*self.nodes.values()]
        name = {"net": "agent"}.get(namespace, "c")
        metadata = {"name": name, "uid": f"{name}{self.agents}" if name == "agent" else name}
        metadata["ownerReferences"] = [{"kind": "DaemonSet", "name": "agent"}]  # type: ignore[assignment]
        status = {"conditions": [{"type": "Ready", "status": "True"}]}
        return [{"metadata": metadata, "spec": {"nodeName": "n2"}, "status": status}]

    def delete(self, items: Any) -> None:
        self.log.append("left")
        self.nodes.pop(items[0]["metadata"]["name"])

    def apply(self, items: Any) -> None:
        self.log.append("came")
        self.nodes[items[0]["metadata"]["name"]] = items[0]

    def path_of(self, item: Any) -> str:
        return str(item["metadata"]["name"])

    def raw(self, *_: Any) -> None:
        self.agents += 1

    def run(self, argv: Any, **_: Any) -> Completed:
        there = "n2" in self.nodes or not self.forgets
        text = "10.244.1.0/24 dev flannel.1\n" if argv[0] == "ip" else "02:00:00:00:00:02 dst 172.18.0.12 self\n"
        return Completed(tuple(argv), 0, text if there else "", "")


def look(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, ends: type[BaseException] | None = None) -> dict[str, Any]:
    run = simlab.green()

    @contextlib.contextmanager
    def lasting(*_: Any, **__: Any) -> Iterator[Any]:
        yield SimpleNamespace(seen=[])

    def dial(_: Any, purpose: str, **__: Any) -> list[Any]:
        if purpose == "join-away" and ends is not None:
            raise ends
        return [one for one in run.exchanges[purpose] if purpose == "joined"]

    monkeypatch.setattr(loss, "lasting", lasting)
    monkeypatch.setattr(loss, "_dial", dial)
    monkeypatch.setattr(loss, "_streams", lambda _: {})
    variant = run.variant.model_copy(update={"workloads": WORKLOADS})
    suite: Any = SimpleNamespace(
        inventory=run.inventory, gates=run.gates, attached=SimpleNamespace(kube=cluster, variant=variant),
        sandboxes=SimpleNamespace(node=lambda _: SimpleNamespace(runner=cluster)),
    )  # fmt: skip
    with timeouts.paced(0.1):
        seen = loss.observe_loss(suite, Disturbance(gone=0.5))
    return {one.what: one.data for one in seen if isinstance(one, Dump)}


def test_a_node_comes_back_with_its_share_and_nothing_that_an_agent_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    seen = look(cluster, monkeypatch)
    node = cluster.nodes["n2"]
    assert cluster.log == ["left", "came"]
    assert node["spec"] == {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"]}
    assert node["metadata"] == {
        "name": "n2", "labels": {"zone": "x"}, "annotations": {"node.alpha.kubernetes.io/ttl": "0"},
    }  # fmt: skip
    assert [(row["kind"], row["left"], row["seconds"] is None) for row in seen["node-loss"]] == [
        ("route", [], False), ("fdb", [], False),
    ]  # fmt: skip
    assert cluster.agents == 2
    assert set(seen["node-join"]["seconds"]) == {"IPv4"}
    assert seen["node-join"]["shares"] == {"n2": ["10.244.1.0/24"]}


def test_what_is_not_forgotten_is_told_and_the_node_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(forgets=False)
    seen = look(cluster, monkeypatch)
    assert [(row["left"] == row["before"], row["seconds"]) for row in seen["node-loss"]] == [(True, None)] * 2
    assert "n2" in cluster.nodes


def test_an_interrupt_leaves_no_cluster_without_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    with pytest.raises(KeyboardInterrupt):
        look(cluster, monkeypatch, KeyboardInterrupt)
    assert cluster.log == ["left", "came"]
    assert "n2" in cluster.nodes
    assert cluster.agents == 2, "its agent was not ended, and would never write what the new Node lacks"
