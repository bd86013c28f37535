"""What the steps decide before probing: are pods ready, whose endpoints are there, which configuration wins."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conformance import manifests
from harness.errors import NotYetError
from harness.model.spec import LabSpec
from harness.steps.suite import deploy
from harness.steps.suite.cni_verbs import active_conf

SPEC = LabSpec(nodes=2)
PLANS = manifests.pod_plans(SPEC)


def pods(**change: Any) -> list[dict[str, Any]]:
    """The suite's pods as the API shows them once they run."""
    shown = []
    for number, item in enumerate(manifests.pods(SPEC)):
        ip = f"10.244.0.{number + 2}"
        names = item["spec"]["containers"]
        statuses = [{"ready": True} for _ in names]
        shown.append(item | {"status": {"podIP": ip, "podIPs": [{"ip": ip}], "containerStatuses": statuses}})
    shown[0] = shown[0] | change
    return shown


def test_running_pods_are_ready() -> None:
    assert deploy.running(pods(), PLANS)


def status(*ready: str) -> dict[str, Any]:
    """A pod's status; of each container `yes` or `no`."""
    statuses = [{"ready": one == "yes"} for one in ready]
    return {"phase": "Running", "podIP": "10.244.0.2", "containerStatuses": statuses}


TWO = manifests.pods(SPEC)[0]["spec"]
"""Of a pod on n1 with two containers."""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": {}}, "it has no address yet on n1"),
        ({"status": status("yes")}, "its phase is Running"),
        ({"status": status("yes", "no")}, "its phase is Running"),
        ({"metadata": {"name": "a", "deletionTimestamp": "now"}}, "it is being deleted"),
        ({"metadata": {"name": "other"}}, "it does not exist"),
        ({"spec": TWO | {"nodeName": "n2"}}, "it is on n2, not on n1"),
        ({"spec": TWO | {"containers": [{}]}, "status": status("yes")}, "it has 1 containers, not 2"),
    ],
)
def test_a_pod_that_is_not_whole_is_not_ready(change: dict[str, Any], reason: str) -> None:
    assert not deploy.running(pods(**change), PLANS)
    assert deploy.waiting_for(pods(**change), PLANS) == {"a": reason}


def slices(running: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Endpoint slices as the controller makes them."""
    made = []
    for service in manifests.services(SPEC):
        chosen = deploy._selected(running, service)
        endpoints = [{"addresses": [pod["status"]["podIP"]], "conditions": {"ready": True}} for pod in chosen]
        name = service["metadata"]["name"]
        made.append({"metadata": {"labels": {"kubernetes.io/service-name": name}}, "endpoints": endpoints})
    return made


def test_a_service_serves_when_its_endpoints_are_the_pods_that_it_selects() -> None:
    running = pods()
    made = slices(running)
    assert deploy.all_served(made, running, manifests.services(SPEC)) == made
    lost = made[0]["endpoints"][0]
    lost["conditions"]["ready"] = False
    made[1]["endpoints"].append({"addresses": ["10.244.9.9"]})
    with pytest.raises(NotYetError) as caught:
        deploy.all_served(made, running, manifests.services(SPEC))
    first, second = (item["metadata"]["labels"]["kubernetes.io/service-name"] for item in made[:2])
    assert caught.value.what == f"{first}: lacks {lost['addresses'][0]}; {second}: still has 10.244.9.9"
    assert caught.value.left == 2


def test_the_sole_services_have_one_backend_each_and_the_empty_one_none() -> None:
    running = pods()
    found = {service["metadata"]["name"]: deploy._selected(running, service) for service in manifests.services(SPEC)}
    assert {name: len(chosen) for name, chosen in found.items() if name.startswith("sole-")} == {
        "sole-a": 1,
        "sole-c": 1,
    }
    assert found["vip-empty"] == []
    assert [pod["metadata"]["name"] for pod in found["etp-local"]] == ["c"]


LIST = {"cniVersion": "1.0.0", "name": "x", "plugins": [{"type": "bridge"}]}


def test_the_first_configuration_in_lexical_order_wins() -> None:
    other = LIST | {"name": "other"}
    assert active_conf({"20-x.conflist": json.dumps(LIST), "10-y.conflist": json.dumps(other)}) == other


def test_a_single_plugin_is_a_list_of_one() -> None:
    single = {"cniVersion": "0.4.0", "name": "x", "type": "bridge"}
    assert active_conf({"10-x.conf": json.dumps(single)}) == {"name": "x", "cniVersion": "0.4.0", "plugins": [single]}


@pytest.mark.parametrize("texts", [{}, {"10-x.conflist": '{"cniVersion'}, {"README": "text"}, {"10-x.conf": "[]"}])
def test_no_usable_configuration_is_none(texts: dict[str, str]) -> None:
    assert active_conf(texts) is None
