"""A pod that is not available costs its checks, not the run: ports are chosen again, and nodes and gates given up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.cluster import ports as numbers
from harness.cluster.access import Access
from harness.cluster.execute import PodRunner
from harness.cluster.kube import ApiError, Kube, Object
from harness.cluster.stream import Place
from harness.errors import BringUpError
from harness.model.journal import Journal
from harness.model.records import Exchange, Observation
from harness.model.spec import LabSpec
from harness.probes import plan as probes
from harness.providers.existing import tenancy
from harness.providers.existing.rights import Rights
from harness.steps.existing import pods as existing_pods
from harness.steps.existing.pods import TRIES, Crew, NodeLost
from harness.steps.existing.preflight import RESPONDER, Survey, Wish
from harness.steps.existing.send import Sender
from harness.steps.existing.stay import Stay

ACCESS = Access(Path("/kubeconfig"), "test", "http://127.0.0.1:1")
FORBIDDEN = 403

NOT_RUN = {"outcome": "error", "detail": 'container not found ("main")'}

Fate = Callable[[Object], Mapping[str, Any] | None]
"""Status of a pod that is made; None: it runs."""


class Cluster(Kube):
    """An API server that keeps pods, and decides at once what becomes of them."""

    def __init__(self, fate: Fate) -> None:
        super().__init__(Path("/kubeconfig"), access=ACCESS)
        self.fate = fate
        self.pods: dict[str, Object] = {}
        self.made: Counter[str] = Counter()

    def raw(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        name = path.rpartition("/")[2]
        if method == "POST" and name == "pods":
            return self._create(json.loads(json.dumps(body)))
        if method == "DELETE":
            self.pods.pop(name, None)
            return {}
        assert method == "GET", (method, path)
        wanted = (more.get("query") or {}).get("labelSelector", "")
        keys = dict(part.split("=") for part in wanted.split(",") if part)
        found = [one for one in self.pods.values() if keys.items() <= one["metadata"]["labels"].items()]
        return {"items": found if name == "pods" else []}

    def _create(self, item: Object) -> Object:
        name = item["metadata"]["name"]
        self.made[name] += 1
        item["metadata"]["uid"] = f"{name}-{self.made[name]}"
        statuses = [{"image": one["image"], "ready": True} for one in item["spec"]["containers"]]
        runs = {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "containerStatuses": statuses}
        item["status"] = self.fate(item) or runs
        self.pods[name] = item
        return item


def refused(reason: str) -> dict[str, Any]:
    return {"phase": "Failed", "reason": reason, "message": f"Pod was rejected: {reason}"}


def unpulled(item: Object) -> dict[str, Any]:
    state = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
    container = item["spec"]["containers"][0]
    return {"phase": "Pending", "containerStatuses": [{"image": container["image"], "ready": False, "state": state}]}


def crew(fate: Fate, monkeypatch: pytest.MonkeyPatch, *, answers: Callable[[probes.Prober], str] | None = None) -> Crew:
    """A crew of two nodes; `answers` says which token answers on a host-network pod; an empty one: no program runs."""

    def ask(work: Mapping[probes.Prober, Sequence[probes.Probe]], **_: Any) -> list[Observation]:
        return [
            Exchange(
                batch="B0", purpose="self", src=site.name, src_node=site.node, src_ip=site.ip, dst=site.name,
                dst_node=site.node, proto="tcp", dial="",
                **({"outcome": "ok", "token": said} if (said := answers(site) if answers else site.name) else NOT_RUN),
            )
            for site in work
        ]  # fmt: skip

    monkeypatch.setattr(existing_pods, "run_plans", ask)
    kube = Cluster(fate)
    found = Survey(Wish(Path("/kubeconfig")), ACCESS, kube, "1.34.0", Rights({}), (), ())
    here = Stay(found, tenancy.mark("m", 1, 1, "run"), Journal(), image=RESPONDER)
    enter = PodRunner(ACCESS, Place("", ""))
    made = Crew(here, LabSpec(nodes=2), enter, Sender(here, enter, lambda _: Path("/none"), Journal()))
    made.make([item for item in made.objects() if item["kind"] == "Pod"])
    return made


def cluster(made: Crew) -> Cluster:
    kube = made.here.kube
    assert isinstance(kube, Cluster)
    return kube


def test_a_port_that_was_taken_after_all_is_replaced_on_its_node_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    first: set[int] = set()

    def fate(item: Object) -> Mapping[str, Any] | None:
        had = numbers.of_pod(item)
        if item["metadata"]["name"] == "b" and (not first or had <= first):
            first.update(had)
            return refused("NodePorts")
        return None

    made = crew(fate, monkeypatch)
    pods = made.serving()
    assert cluster(made).made == {"a": 2, "b": 2, "h1": 1, "c": 1, "d": 1, "h2": 1}
    assert numbers.of_pod(pods["a"]) == numbers.of_pod(pods["b"]) == {made.ports["n1"].published} != first
    assert numbers.of_pod(pods["c"]) == first == {made.ports["n2"].published}
    assert made.here.closed == {}


def test_host_ports_that_cannot_be_had_cost_their_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def fate(item: Object) -> Mapping[str, Any] | None:
        return refused("NodePorts") if item["metadata"]["name"] == "a" and numbers.of_pod(item) else None

    made = crew(fate, monkeypatch)
    assert set(made.serving()) == {"a", "b", "c", "d", "h1", "h2"}
    assert f"{TRIES} ports of node n1 were in use" in made.here.closed["hport"]
    assert "NodePorts" in made.here.closed["hport"]
    assert set(made.here.closed) == {"hport"}


def test_a_port_on_which_somebody_else_answers_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def answers(site: probes.Prober) -> str:
        seen.append(site.name)
        return "somebody" if site.name == "h2" and seen.count("h2") == 1 else site.name

    made = crew(lambda _: None, monkeypatch, answers=answers)
    before = made.ports["n2"].own
    assert numbers.of_pod(made.serving()["h2"]) == {made.ports["n2"].own}
    assert made.ports["n2"].own != before
    assert cluster(made).made == {"a": 1, "b": 1, "h1": 1, "c": 1, "d": 1, "h2": 2}


def test_a_program_that_ended_after_the_look_because_its_port_is_taken_gets_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Running, and then gone: between the two a pod looks well, and nothing can be run in it."""
    last = {"reason": "Error", "message": "bind: address already in use", "exitCode": 1}
    looks: list[str] = []

    def answers(site: probes.Prober) -> str:
        looks.append(site.name)
        if site.name != "h2" or looks.count("h2") > 2:
            return site.name
        if looks.count("h2") == 2:  # kubelet tells a moment later
            (status,) = cluster(made).pods["h2"]["status"]["containerStatuses"]
            status |= {"ready": False, "state": {"terminated": last}}
        return ""

    made = crew(lambda _: None, monkeypatch, answers=answers)
    before = made.ports["n2"].own
    assert numbers.of_pod(made.serving()["h2"]) == {made.ports["n2"].own} != {before}
    assert cluster(made).made == {"a": 1, "b": 1, "h1": 1, "c": 1, "d": 1, "h2": 2}
    assert made.here.closed == {}


@pytest.mark.parametrize("why", ["port", "evicted"])
def test_without_a_host_network_pod_what_needs_one_is_skipped(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fate(item: Object) -> Mapping[str, Any] | None:
        return refused("Evicted") if why == "evicted" and item["metadata"]["name"] == "h1" else None

    made = crew(fate, monkeypatch, answers=lambda site: "somebody" if why == "port" else site.name)
    assert set(made.serving()) == {"a", "b", "c", "d"}
    assert set(made.here.closed) == {"hosts", "policies"}
    assert {"port": "somebody", "evicted": "Evicted"}[why] in made.here.closed["hosts"]
    assert set(cluster(made).pods) == {"a", "b", "c", "d"}


def test_a_node_that_refuses_its_pods_is_lost_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    made = crew(lambda item: refused("Evicted") if item["metadata"]["name"] == "c" else None, monkeypatch)
    with pytest.raises(NodeLost, match="refused by node n2") as lost:
        made.serving()
    assert (lost.value.node, "Evicted" in lost.value.reason) == ("n2", True)


def test_a_quota_costs_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    def fate(item: Object) -> None:
        if item["metadata"]["name"] == "d":
            raise ApiError(FORBIDDEN, "POST", "exceeded quota: pods=5")

    with pytest.raises(NodeLost, match="refused by the API server") as lost:
        crew(fate, monkeypatch)
    assert (lost.value.node, lost.value.cause) == ("n2", "exceeded quota: pods=5")


def test_an_image_that_no_node_can_have_ends_the_run_and_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    made = crew(unpulled, monkeypatch)
    with pytest.raises(BringUpError, match=r"is not available on node n[12]") as error:
        made.serving()
    assert not isinstance(error.value, NodeLost)
    assert "--image" in error.value.next_step


def test_an_image_that_one_node_cannot_have_costs_that_node(monkeypatch: pytest.MonkeyPatch) -> None:
    made = crew(lambda item: unpulled(item) if item["spec"]["nodeName"] == "n2" else None, monkeypatch)
    with pytest.raises(NodeLost) as lost:
        made.serving()
    assert lost.value.node == "n2"
