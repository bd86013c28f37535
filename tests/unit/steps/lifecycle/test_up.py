"""When the API server counts as ready."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.cluster.kube import ApiError, Kube
from harness.errors import NotYetError
from harness.model.records import Lookup
from harness.model.wellknown import EMULATED
from harness.steps.lifecycle import up
from harness.steps.lifecycle.attach import Attached
from harness.steps.lifecycle.up import LATE_HOOKS, api_ready


class Starting:
    """An API server whose hooks are still at work; `exclude` is that of apiserver/pkg/server/healthz."""

    def __init__(self, *pending: str) -> None:
        self.pending = {f"poststarthook/{one}" for one in pending}
        self.namespaces = True

    def get(self, version: str, kind: str, name: str) -> Any:
        assert (version, kind, name) == ("v1", "Namespace", "kube-system")
        return {} if self.namespaces else None

    def raw(self, method: str, path: str, *, timeout: float) -> Any:
        assert (method, timeout > 0) == ("GET", True)
        place, _, query = path.partition("?")
        assert place == "/readyz"
        excluded = {word.removeprefix("exclude=") for word in query.split("&")}
        if self.pending - excluded:
            raise ApiError(500, "GET /readyz: the API server answered 500", "")
        return "ok"


def ready(*pending: str) -> bool:
    with contextlib.suppress(ApiError):
        return api_ready(cast("Kube", Starting(*pending)))
    return False


def test_an_administrator_does_not_wait_for_roles() -> None:
    assert ready()
    assert ready(*LATE_HOOKS)
    assert not ready("start-service-ip-repair-controllers")
    assert not ready(*LATE_HOOKS, "crd-informer-synced")


def test_namespaces_of_the_system_are_made_before_anything_goes_there() -> None:
    server = Starting()
    server.namespaces = False
    with pytest.raises(NotYetError, match="no namespace kube-system"):
        api_ready(cast("Kube", server))


def test_on_an_emulated_processor_all_must_be_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EMULATED, "1")
    assert ready()
    assert not ready(LATE_HOOKS[0])


class Cluster:
    """An API that lists nodes, and has one workload."""

    def __init__(self, nodes: list[dict[str, Any]], workload: dict[str, Any] | None = None) -> None:
        self.nodes, self.workload = nodes, workload

    def list(self, version: str, kind: str) -> list[dict[str, Any]]:
        assert (version, kind) == ("v1", "Node")
        return self.nodes

    def get(self, version: str, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
        assert (version, kind in {"DaemonSet", "Deployment"}, bool(name), bool(namespace)) == ("apps/v1", 1, 1, 1)
        return self.workload


def attached(cluster: Cluster) -> Attached:
    return cast("Attached", SimpleNamespace(kube=cluster))


def node(name: str, status: str = "", message: str = "", cidr: str = "") -> dict[str, Any]:
    ready = [{"type": "Ready", "status": status, "message": message}] if status else []
    return {"metadata": {"name": name}, "spec": {"podCIDR": cidr}, "status": {"conditions": ready}}


def why(look: Callable[[], object]) -> str:
    with pytest.raises(NotYetError) as caught:
        look()
    return caught.value.what


def test_nodes_that_are_awaited_are_named_with_the_reason() -> None:
    names = {"n1", "n2", "n3"}
    ready = attached(
        Cluster([node("n1", "True", cidr="10.244.0.0/24"), node("n2", "False", "cni plugin not initialized")])
    )
    assert why(lambda: up._registered(ready, names)) == "n2 has no podCIDR; n3 is not registered"
    assert why(lambda: up._nodes_ready(ready, names)) == (
        "n2 is not Ready: cni plugin not initialized; n3 is not Ready: kubelet has not given a reason"
    )
    assert up._nodes_ready(ready, {"n1"})
    assert [one["metadata"]["name"] for one in up._registered(ready, {"n1"})] == ["n1"]


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        ("DaemonSet", {}, "its controller has not processed it yet"),
        ("DaemonSet", {"observedGeneration": 1}, "0 of 0 pods are ready"),
        (
            "DaemonSet",
            {"observedGeneration": 1, "desiredNumberScheduled": 2, "numberReady": 1, "updatedNumberScheduled": 2},
            "1 of 2 pods are ready",
        ),
        ("Deployment", {"observedGeneration": 1}, "0 of 1 pods are ready"),
        (
            "DaemonSet",
            {"observedGeneration": 1, "desiredNumberScheduled": 2, "numberReady": 2, "updatedNumberScheduled": 2},
            "",
        ),
        ("Deployment", {"observedGeneration": 1, "availableReplicas": 1}, ""),
    ],
)
def test_a_workload_that_is_awaited_says_how_far_it_is(kind: str, status: dict[str, Any], said: str) -> None:
    item = {"metadata": {"generation": 1}, "spec": {"replicas": 1}, "status": status}
    name = f"kube-system/{kind}/agent"
    if said:
        assert why(lambda: up._rolled_out(attached(Cluster([], item)), name)) == said
    else:
        assert up._rolled_out(attached(Cluster([], item)), name)
    assert why(lambda: up._rolled_out(attached(Cluster([])), name)) == f"there is no {name}"


def test_a_question_without_an_answer_says_how_it_ended() -> None:
    facts = {"batch": "up", "purpose": "", "src": "n1", "src_node": "n1", "name": "x.", "qtype": "A"}
    asked = Lookup.model_validate({**facts, "transport": "udp", "server": "10.96.0.10", "outcome": "timeout"})
    assert up._said(asked) == "the query ended with: timeout"
