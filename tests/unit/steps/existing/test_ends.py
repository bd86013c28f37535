"""Which nodes a flow of somebody else's cluster needs, and ends that cannot be meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.cluster.access import Access
from harness.cluster.kube import Kube, Objects
from harness.errors import CnilabError, PreflightError, UsageError
from harness.providers.existing.rights import Rights
from harness.providers.existing.survey import NodeInfo
from harness.steps.existing.ends import nodes_of
from harness.steps.existing.preflight import Survey, Wish
from harness.steps.why.ends import Question, wire
from harness.steps.why.look import Api

ACCESS = Access(Path("/kubeconfig"), "test", "https://192.0.2.1:6443")
NODES = tuple(
    NodeInfo(
        f"w{number}", f"192.0.2.{number}", addresses=(f"192.0.2.{number}",), pod_cidrs=(f"10.1.{number}.0/24",),
        ready=number != 9,
    )
    for number in range(1, 10)
)  # fmt: skip


def pod(key: str, node: str, ip: str = "", phase: str = "Running") -> dict[str, Any]:
    namespace, _, name = key.partition("/")
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"nodeName": node} if node else {},
        "status": {"phase": phase, "podIP": ip},
    }


PODS = [
    pod("shop/web", "w1", "10.1.1.2"), pod("shop/db-0", "w2", "10.1.2.2"), pod("bank/web", "w3"),
    pod("shop/waits", "", phase="Pending"), pod("shop/done", "w1", phase="Succeeded"), pod("shop/lost", "gone"),
    pod("shop/asleep", "w9"), pod("kube-system/odd", "w5", "10.9.9.9"),
]  # fmt: skip


class Cluster(Kube):
    """An API with pods, which may only be asked for few of them."""

    def __init__(self) -> None:
        super().__init__(Path("/kubeconfig"), access=ACCESS)

    def list(self, api_version: str, kind: str, namespace: str = "", labels: str = "", fields: str = "") -> Objects:
        assert (api_version, kind, labels) == ("v1", "Pod", "")
        what, _, value = fields.partition("=")
        known = {
            "metadata.name": lambda one: one["metadata"]["name"],
            "status.podIP": lambda one: one["status"]["podIP"],
        }
        return [one for one in PODS if known[what](one) == value and namespace in {"", one["metadata"]["namespace"]}]


def service(key: str, ip: str, *endpoints: tuple[str, str], **spec: Any) -> tuple[Any, Any]:
    """A Service, and the slice of its endpoints: addresses and nodes."""
    namespace, _, name = key.partition("/")
    meta = {"name": name, "namespace": namespace}
    ports = [{"port": 5432, "nodePort": 30432}]
    item = {"metadata": meta, "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": ports, **spec}}
    labels = {"kubernetes.io/service-name": name}
    listed = [{"addresses": [one], **({"nodeName": node} if node else {})} for one, node in endpoints]
    return item, {"metadata": {**meta, "labels": labels}, "endpoints": listed}


ALL = [
    service("shop/db", "10.2.0.1", ("10.1.2.2", "w2"), ("10.1.3.2", "w3"), externalIPs=["198.51.100.7"]),
    service("default/kubernetes", "10.2.0.2", ("192.0.2.4", "")),
    service("shop/crowd", "10.2.0.3", *((f"10.1.{number}.7", f"w{number}") for number in range(1, 9))),
    service("shop/abroad", "10.2.0.4", ("203.0.113.5", ""), ("10.1.9.9", "w9")),
]
KNOWN = Api([one for one, _ in ALL], [one for _, one in ALL])
FOUND = Survey(Wish(Path("/kubeconfig")), ACCESS, Cluster(), "1.37.2", Rights({}), NODES, NODES)


def asked(words: str) -> list[str]:
    source, target, *more = words.split()
    question = Question(source, target, wire(more[0]) if more else None)
    return [one.name for one in nodes_of(FOUND, KNOWN, question)]


@pytest.mark.parametrize(
    ("words", "nodes"),
    [
        ("shop/web shop/db-0", ["w1", "w2"]),
        ("pod/shop/web db-0", ["w1", "w2"]),
        ("shop/web w1", ["w1"]),
        ("w3 w4 icmp", ["w3", "w4"]),
        ("shop/web 192.0.2.6", ["w1", "w6"]),
        ("shop/web 10.1.2.2", ["w1", "w2"]),
        ("shop/web 10.9.9.9", ["w1", "w5"]),  # by whose it is, where nodes have no shares
        ("shop/web 10.1.7.99", ["w1", "w7"]),  # nobody's, of a node's share
        ("shop/web 8.8.8.8", ["w1"]),
        ("shop/web svc/shop/db", ["w1", "w2", "w3"]),
        ("shop/web 10.2.0.1 tcp/5432", ["w1", "w2", "w3"]),
        ("shop/web svc/kubernetes", ["w1", "w4"]),
        ("shop/db-0 svc/shop/crowd", ["w2", "w1", "w3", "w4"]),  # its first four
        ("shop/web svc/shop/abroad", ["w1"]),
        ("shop/web w6 tcp/30432", ["w1", "w6", "w2", "w3"]),
        ("shop/web 198.51.100.7 tcp/5432", ["w1", "w2", "w3"]),
        ("shop/web 198.51.100.7 tcp/80", ["w1"]),
    ],
)
def test_only_nodes_that_decide_on_a_flow_are_meant(words: str, nodes: list[str]) -> None:
    assert asked(words) == nodes


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        ("web shop/db-0", UsageError, "pods named 'web' are in several namespaces"),
        ("shop/nobody w1", UsageError, "'shop/nobody' is not a pod, a node, a Service or an address of this cluster"),
        ("shop/we%2Fb w1", UsageError, "'shop/we%2Fb' is not a pod"),
        ("shop/web svc/nobody", UsageError, "there is no Service 'svc/nobody'"),
        ("shop/web svc/shop/db tcp/1", UsageError, "Service shop/db has no such port"),
        ("10.1.1.2 w1", UsageError, "'10.1.1.2' is an address: a flow must begin at a pod or a node"),
        ("8.8.8.8 w1", UsageError, "'8.8.8.8' is an address: a flow must begin at a pod or a node"),
        ("router w1", UsageError, "this cluster has no 'router'"),
        ("w1 far", UsageError, "this cluster has no 'far'"),
        ("shop/waits w1", UsageError, "pod shop/waits does not run"),
        ("w1 shop/done", UsageError, "pod shop/done does not run"),
        ("w1 fd00::1", UsageError, "the cluster has no IPv6"),
        ("w1 shop/lost", PreflightError, "node gone of pod shop/lost is not known to the API server"),
        ("w1 shop/asleep", PreflightError, "the kernel of node w9 cannot be read"),
    ],
)
def test_an_end_that_cannot_be_meant_is_an_error_before_anything_is_made(
    words: str, kind: type[CnilabError], said: str
) -> None:
    with pytest.raises(kind, match=said) as caught:
        asked(words)
    assert caught.value.cause or caught.value.next_step
