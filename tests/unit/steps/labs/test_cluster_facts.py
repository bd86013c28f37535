"""What expressions know of nodes and pods, and what the operator may run."""

from __future__ import annotations

from typing import Any

import pytest

from harness.errors import UsageError
from harness.model.topology import Interface
from harness.probes.sandboxes import Container, Sandbox
from harness.steps.labs.cluster import OperatorRunner, node_facts, pod_facts
from tests.unit.steps.labs.conftest import FakeRunner, said

NODE: dict[str, Any] = {
    "metadata": {"name": "n2", "annotations": {"flannel.alpha.coreos.com/public-ip": "172.18.0.12"}},
    "spec": {"podCIDR": "10.244.1.0/24"},
    "status": {
        "addresses": [{"type": "Hostname", "address": "n2"}, {"type": "InternalIP", "address": "172.18.0.12"}],
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}
POD: dict[str, Any] = {
    "metadata": {"name": "box1", "namespace": "labs", "uid": "u-1", "labels": {"app": "box"}},
    "spec": {"nodeName": "n1", "containers": [{"name": "box", "readinessProbe": {}}]},
    "status": {
        "phase": "Running",
        "podIP": "10.244.0.5",
        "containerStatuses": [{"name": "box", "ready": True, "restartCount": 2}],
    },
}


def test_a_nodes_addresses_follow_from_its_range() -> None:
    facts = node_facts(NODE)
    assert (facts["address"], facts["base"], facts["gateway"]) == ("172.18.0.12", "10.244.1.0", "10.244.1.1")
    assert facts["ready"] is True


def test_a_node_without_a_range_has_no_gateway() -> None:
    facts = node_facts({**NODE, "spec": {}})
    assert (facts["pod_cidr"], facts["base"], facts["gateway"]) == ("", "", "")


def test_a_pod_has_the_apis_view_and_the_nodes() -> None:
    sandbox = Sandbox(
        id="s-1", pod="box1", namespace="labs", uid="u-1", node="n1", pid=700, netns="/proc/700/ns/net", inode=42,
        host_veth="veth1", interfaces=(Interface(name="lo"), Interface(name="eth0", mtu=1450, mac="0a:00:00:00:00:01")),
        containers=(Container(id="c-1", name="box", pid=740),),
    )  # fmt: skip
    facts = pod_facts(POD, sandbox)
    assert (facts["ip"], facts["ready"], facts["restarts"], facts["probed"]) == ("10.244.0.5", True, {"box": 2}, True)
    assert (facts["pids"], facts["ids"]) == ({"pause": 700, "box": 740}, {"box": "c-1"})
    assert (facts["mtu"], facts["mac"], facts["veth"]) == (1450, "0a:00:00:00:00:01", "veth1")


def test_a_pod_knows_what_made_it() -> None:
    made = {
        **POD,
        "metadata": {
            **POD["metadata"],
            "ownerReferences": [{"kind": "DaemonSet", "name": "agent", "controller": True}],
        },
    }
    assert pod_facts(made, None)["owner"] == "DaemonSet/agent"
    assert pod_facts(POD, None)["owner"] == ""


def test_a_pod_without_a_sandbox_has_empty_runtime_facts() -> None:
    waiting = {**POD, "status": {"phase": "Pending"}}
    facts = pod_facts(waiting, None)
    assert (facts["ready"], facts["sandbox"], facts["pids"], facts["netns"]) == (False, "", {}, "")


def test_facts_have_the_same_words_with_and_without_a_sandbox() -> None:
    sandbox = Sandbox(id="s", pod="box1", namespace="labs", uid="u-1", pid=7, netns="/proc/7/ns/net", inode=1)
    assert pod_facts(POD, None).keys() == pod_facts(POD, sandbox).keys()


def test_the_operator_has_kubectl_and_helm_and_reads_captures_and_nothing_else() -> None:
    log: list[tuple[str, tuple[str, ...]]] = []

    def runner(place: str) -> FakeRunner:
        return FakeRunner(place, lambda _place, _argv: said(), log)

    operator = OperatorRunner({"kubectl": runner("kubectl"), "helm": runner("helm")}, runner("host"))
    operator.run(["kubectl", "get", "pods"])
    operator.run(["helm", "list"])
    operator.run(["tcpdump", "-r", "x.pcap"])
    with pytest.raises(UsageError, match="no program 'rm'"):
        operator.run(["rm", "-rf", "/"])
    assert log == [("kubectl", ("get", "pods")), ("helm", ("list",)), ("host", ("tcpdump", "-r", "x.pcap"))]
