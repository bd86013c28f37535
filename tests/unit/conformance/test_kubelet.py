"""What kubelets say of their probes is counted for one pod, and held against what they say of probes beside it."""

from __future__ import annotations

from typing import Any

import pytest

from conformance import kubelet
from conformance.inventory import NAMESPACE
from tests.unit.conformance.broken import probed
from tests.unit.conformance.simlab import Change, changed, dumps, verdict

CHECK = "model.kubelet-probe"
METRICS = """# TYPE prober_probe_total counter
prober_probe_total{container="http",namespace="cnilab-probe",pod="k1",pod_uid="u2",probe_type="Readiness",result="failed"} 2
prober_probe_total{container="http",namespace="cnilab-probe",pod="k1",pod_uid="u2",probe_type="Readiness",result="successful"} 1e+01
prober_probe_total{container="http",namespace="cnilab-probe",pod="k1",pod_uid="u1",probe_type="Readiness",result="failed"} 70
prober_probe_total{container="http",namespace="cnilab-probe",pod="k1",pod_uid="u2",probe_type="Liveness",result="failed"} 9
prober_probe_duration_seconds_count{container="http",namespace="cnilab-probe",pod="k1",probe_type="Readiness"} 81
"""  # noqa: E501 - as a kubelet writes them


def policed(**outcomes: str) -> Change:
    """Somebody enforces the policy, and n1's pod answers its neighbour so."""

    def edit(data: dict[str, Any]) -> dict[str, Any]:
        pods = {node: one | {"shut": "timeout"} for node, one in data["pods"].items()}
        return {"enforcing": True, "pods": pods | {"n1": pods["n1"] | outcomes}}

    return dumps(edit, what=kubelet.WHAT)


def test_probes_of_an_earlier_pod_and_of_other_kinds_are_not_counted() -> None:
    assert kubelet.counted(METRICS, "u2") == {"http": {"failed": 2, "successful": 10}}


def test_each_node_has_a_pod_with_a_container_for_each_way() -> None:
    made = kubelet.pods(["x", "y"])
    assert [(item["metadata"]["name"], item["spec"]["nodeName"]) for item in made] == [("k1", "x"), ("k2", "y")]
    assert {one["name"] for one in made[0]["spec"]["containers"]} == {*kubelet.OVER, kubelet.WITHOUT}
    policy = kubelet.deny_all()
    assert policy["metadata"]["namespace"] == NAMESPACE
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= made[0]["metadata"]["labels"].items()
    assert not {"ingress", "egress"} & set(policy["spec"])


def test_under_a_policy_that_holds_probes_go_on() -> None:
    found = verdict(changed(policed()), CHECK)
    assert found.status == "pass"
    assert found.statement == "12 probes of 2 kubelets over HTTP and TCP succeeded under a policy that denies all"


@pytest.mark.parametrize("outcomes", [{"shut": "ok"}, {"open": "timeout"}, {"shut": "error"}])
def test_a_policy_that_does_not_hold_proves_nothing(outcomes: dict[str, str]) -> None:
    assert verdict(changed(policed(**outcomes)), CHECK).status == "error"


def test_a_machine_that_cannot_run_a_program_in_time_is_no_fault_of_the_network() -> None:
    busy = (probed("n1", "http", successful=4, failed=1), probed("n1", "exec", successful=4, failed=1))
    found = verdict(changed(*busy), CHECK)
    legs = {leg.leg: leg for leg in found.legs}
    assert found.status == "pass"
    assert legs["kubelet@n1>k1/http"].status == "record"
    assert legs["kubelet@n1>k1/http"].statement.endswith("without the network: a busy machine")


def test_a_pod_that_does_not_get_ready_fails_however_busy_its_node_is() -> None:
    busy = (probed("n1", "http", ready=False, failed=3), probed("n1", "exec", successful=4, failed=1))
    assert verdict(changed(*busy), CHECK).status == "fail"


def test_a_kubelet_that_says_nothing_is_an_error() -> None:
    silent = dumps(lambda data: data | {"pods": data["pods"] | {"n1": {"error": "no answer"}}}, what=kubelet.WHAT)
    found = verdict(changed(silent), CHECK)
    assert found.status == "error"
    assert "no answer" in found.statement
