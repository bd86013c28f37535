"""Which pods leave a network, and how those come back that nobody makes again."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import BringUpError, UsageError
from harness.probes.sandboxes import Sandboxes
from harness.steps.network.moving import TAINT, copies, drain, in_pod_network, require_movable, tolerates


def pod(name: str, *, controller: str = "", phase: str = "Running", **spec: Any) -> dict[str, Any]:
    owners = [{"kind": "ReplicaSet", "name": controller, "controller": True}] if controller else []
    metadata = {
        "namespace": "shop",
        "name": name,
        "uid": f"uid-{name}",
        "resourceVersion": "7",
        "ownerReferences": owners,
    }
    return {"metadata": metadata, "spec": {"nodeName": "n1", **spec}, "status": {"phase": phase, "podIP": "10.244.0.2"}}


def test_pods_of_the_nodes_network_and_finished_ones_stay() -> None:
    pods = [pod("web"), pod("agent", hostNetwork=True), pod("job", phase="Succeeded")]
    assert [one["metadata"]["name"] for one in in_pod_network(pods)] == ["web"]


def test_only_pods_without_a_controller_are_copied_and_what_the_api_sets_is_left_out() -> None:
    (copy,) = copies([pod("web"), pod("replica", controller="rs")])
    assert copy == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "shop", "name": "web", "ownerReferences": []},
        "spec": {"nodeName": "n1"},
    }


@pytest.mark.parametrize(
    ("toleration", "stays"),
    [
        ({"operator": "Exists"}, True),
        ({"operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": TAINT["key"], "operator": "Exists"}, True),
        ({"key": TAINT["key"], "value": TAINT["value"], "effect": "NoSchedule"}, True),
        ({"key": TAINT["key"], "value": "other"}, False),
        ({"key": "CriticalAddonsOnly", "operator": "Exists"}, False),
    ],
)
def test_tolerations_as_the_scheduler_reads_them(toleration: dict[str, str], stays: bool) -> None:
    assert tolerates(pod("web", tolerations=[toleration]), TAINT) is stays


def test_a_controlled_pod_that_no_taint_keeps_away_is_refused_by_name() -> None:
    everywhere = [{"operator": "Exists"}]
    require_movable(
        [pod("bare", tolerations=everywhere), pod("agent", controller="ds", hostNetwork=True, tolerations=everywhere)]
    )
    with pytest.raises(UsageError, match="tolerate every taint") as caught:
        require_movable([pod("log-x1", controller="log", tolerations=everywhere)])
    assert caught.value.cause == "shop/log-x1"
    assert "operator: Exists" in caught.value.next_step


class Api:
    """Pods; a controller makes one again when it is deleted, and the scheduler does not know yet of the taint."""

    def __init__(self) -> None:
        self.pods = [pod("web-1", controller="rs"), pod("single")]
        self.deleted: list[str] = []

    def delete(self, pods: list[dict[str, Any]], **_: Any) -> None:
        for one in pods:
            name = one["metadata"]["name"]
            self.deleted.append(name)
            self.pods.remove(one)
            if name == "web-1":
                self.pods.append(pod("web-2", controller="rs"))
            if name == "web-2":
                waiting = pod("web-3", controller="rs", phase="Pending")
                waiting["spec"].pop("nodeName")
                self.pods.append(waiting)

    def list(self, api_version: str, kind: str) -> list[dict[str, Any]]:
        assert (api_version, kind) == ("v1", "Pod")
        return [*self.pods]


def test_a_pod_that_was_given_a_node_before_the_taint_was_known_goes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    api: Any = Api()
    monkeypatch.setattr("harness.probes.sandboxes.of_nodes", lambda _: Sandboxes((), ()))
    assert drain(api, ()) == 2
    assert sorted(api.deleted) == ["single", "web-1", "web-2"]
    assert [one["metadata"]["name"] for one in api.pods] == ["web-3"], "it waits for the new network"


class Stubborn(Api):
    """The template of the controller names a node: its pods ask no scheduler."""

    def delete(self, pods: list[dict[str, Any]], **_: Any) -> None:
        for one in pods:
            self.deleted.append(one["metadata"]["name"])
            self.pods.remove(one)
            if one["metadata"]["ownerReferences"]:
                self.pods.append(pod(f"new-{len(self.deleted)}", controller="rs"))


def test_pods_that_no_taint_keeps_off_end_the_wait_at_once_and_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    api: Any = Stubborn()
    monkeypatch.setattr("harness.probes.sandboxes.of_nodes", lambda _: Sandboxes((), ()))
    with pytest.raises(BringUpError, match="their templates name the node") as caught:
        drain(api, ())
    assert "made by rs" in caught.value.cause
    assert "nodeSelector" in caught.value.next_step
