"""`cnilab why --kubeconfig`: what it needs, what it makes, and what it takes a node for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.components.lock import architecture
from harness.errors import PreflightError, UsageError
from harness.model.journal import Journal
from harness.model.spec import LabSpec
from harness.probes.sandboxes import Sandbox
from harness.providers.existing import rights, tenancy
from harness.providers.existing.survey import NodeInfo
from harness.runner import CommandError
from harness.steps.existing import stay
from harness.steps.existing import why as module
from harness.steps.existing.look import Nodes
from harness.steps.existing.preflight import TOOLBOX, Survey, Wish
from harness.steps.existing.stay import Stay
from tests.unit.steps.existing.test_preflight import CONFIG, found

EVERYTHING = found(families=("ipv4",))


def examined(monkeypatch: pytest.MonkeyPatch, there: Survey) -> Survey:
    asked: list[object] = []

    def examine(wish: Wish, wanted: object) -> Survey:
        asked.append(wanted)
        return replace(there, wish=wish)

    monkeypatch.setattr(module, "examine", examine)
    answer = module.examined(Wish(CONFIG))
    assert asked == [rights.ASKING]
    return answer


def test_an_administrator_may(monkeypatch: pytest.MonkeyPatch) -> None:
    assert examined(monkeypatch, EVERYTHING).chosen == EVERYTHING.chosen


@pytest.mark.parametrize("right", [one for one in rights.ASKING if one.part != "network"], ids=str)
def test_what_is_not_allowed_is_named(monkeypatch: pytest.MonkeyPatch, right: rights.Right) -> None:
    with pytest.raises(PreflightError, match="user 'alice' lacks rights") as caught:
        examined(monkeypatch, replace(EVERYTHING, rights=rights.Rights({right: "no role"})))
    assert caught.value.cause == f"not allowed: {right} no role"
    assert "docs/why.md" in caught.value.next_step


def test_the_network_may_stay_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    denied = {right: "" for right in rights.ASKING if right.part == "network"}
    assert examined(monkeypatch, replace(EVERYTHING, rights=rights.Rights(denied))).chosen


def test_a_cluster_without_a_usable_node_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    node = NodeInfo("w1", "192.0.2.9", system="windows")
    with pytest.raises(PreflightError, match="there is no node whose kernel can be read") as caught:
        examined(monkeypatch, replace(EVERYTHING, nodes=(node,), chosen=()))
    assert caught.value.cause == "w1 runs windows"


def test_pods_alone_cannot_read_kernels() -> None:
    with pytest.raises(UsageError, match="--pods-only allows none"):
        module.examined(Wish(Path("/nonexistent"), pods_only=True))


def test_nodes_for_which_nothing_can_be_sent_are_left_out_and_named() -> None:
    nodes = (NodeInfo("w1", "192.0.2.1", architecture=architecture()), NodeInfo("w2", "192.0.2.2", architecture="mips"))
    assert list(module._unfit(EVERYTHING, nodes)) == ["w2"]
    assert module._unfit(replace(EVERYTHING, wish=Wish(CONFIG, node_image="r/toolbox:1")), nodes) == {}
    ready = tuple(replace(one, images=frozenset({TOOLBOX})) for one in nodes)
    assert module._unfit(EVERYTHING, ready) == {}


class Admission(Stay):
    """A stay of which all that it posts is kept, and which may be refused."""

    refused = ""

    def _post(self, item: Any, *, dry: bool = False) -> Any:
        self.__dict__.setdefault("posted", []).append((item["kind"], item["metadata"].get("namespace", ""), dry))

    def _refused(self, pod: Any, namespace: str = "") -> str:
        del pod, namespace
        return self.refused


def test_there_is_one_namespace_and_no_pod_of_the_suite() -> None:
    here = Admission(EVERYTHING, tenancy.mark("m", 1, 1, "x1"), Journal(), probes_only=True)
    here.settle_probes()
    assert here.__dict__["posted"] == [("Namespace", "", False)]
    assert here.namespace == here.probes == f"cnilab-x1{stay.PROBES}"


def test_a_cluster_that_refuses_probes_says_why() -> None:
    here = Admission(EVERYTHING, tenancy.mark("m", 1, 1, "x1"), Journal(), probes_only=True)
    here.refused = "violates PodSecurity"
    with pytest.raises(PreflightError, match="accepts no privileged pods on its nodes") as caught:
        here.settle_probes()
    assert "violates PodSecurity" in caught.value.cause


def sandbox(name: str, mtu: int, node: str = "w1") -> Sandbox:
    known = {"id": name, "pod": name, "namespace": "x", "uid": "1", "node": node, "pid": 1, "netns": "", "inode": 1}
    links = [{"name": "lo", "mtu": 65536}, {"name": "eth0", "mtu": mtu}]
    return Sandbox.model_validate({**known, "interfaces": links})


def test_the_mtu_of_a_node_is_the_one_that_most_of_its_pods_were_given() -> None:
    node = NodeInfo("w1", "192.0.2.1", addresses=("192.0.2.1",), pod_cidr="10.1.1.0/24", pod_cidrs=("10.1.1.0/24",))
    addresses = {"nodeAddresses": {"w1": "192.0.2.1"}, "nodes": 1, "ipFamily": "ipv4"}
    spec = LabSpec.model_validate({"name": "x", "provider": "existing", **addresses})
    pods = [sandbox("a", 1400), sandbox("b", 1400), sandbox("c", 900), sandbox("d", 8000, "w2")]
    fact = module._fact(node, spec, Nodes(), pods, -50)
    assert (fact.mtu, fact.address, fact.pod_cidrs) == (1450, "192.0.2.1", ("10.1.1.0/24",))
    links = {"w1": [{"ifname": "ens3", "mtu": 9000, "addr_info": [{"local": "192.0.2.1", "prefixlen": 24}]}]}
    assert module._fact(node, spec, Nodes(links=links), [], -50).mtu == 9000


@pytest.mark.parametrize(
    ("text", "unmasked"),
    [("FLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n", False), ("FLANNEL_IPMASQ=false\n", True), (None, False)],
)
def test_a_network_that_does_not_masquerade_promises_nothing(text: str | None, unmasked: bool) -> None:
    class Node:
        def file(self, path: str) -> str:
            if text is None:
                raise CommandError(path)
            return text

    node: Any = Node()
    assert module._unmasked(Nodes(nodes=(node,))) is unmasked
