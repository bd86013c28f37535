"""What is said of a node that left and came back: of its share, and of pods that did not wait for it."""

from __future__ import annotations

from typing import Any

from conformance.disturbance import SELF, bystanders, lost_node, reunited
from conformance.inventory import Inventory, NodeFact, Site
from tests.unit.conformance.simlab import changed, dumps, green, records, verdict


def lab(nodes: int) -> Inventory:
    names = [f"n{number}" for number in range(1, nodes + 1)]
    sites = [
        Site(name=f"{letter}{node}", kind="pod", node=node, ip=f"10.0.{number}.{index}")
        for number, node in enumerate(names)
        for index, letter in enumerate("xy", start=2)
    ]
    return Inventory(nodes=tuple(NodeFact(name=name, address="", mtu=1500) for name in names), sites=tuple(sites))


def test_streams_avoid_the_node_that_leaves_and_whoever_receives_one_sends_one() -> None:
    for nodes in (1, 2, 3, 7):
        ways = [(site, target) for site, target in bystanders(lab(nodes)) if target.name != SELF]
        assert {site.name for site, _ in ways} == {target.name for _, target in ways}
        assert "n2" not in {site.node for site, _ in ways} | {target.node for _, target in ways}
        assert len(ways) == (2 if nodes < 3 else nodes - 1 + 2)


def test_all_other_nodes_are_asked_for_the_one_that_was_away() -> None:
    assert lost_node(lab(1)) == ""
    assert reunited(lab(1)) == ()
    ways = {(site.node, target.node) for site, target in reunited(lab(4))}
    assert ways == {(one, other) for node in ("n1", "n3", "n4") for one, other in (("n2", node), (node, "n2"))}


def test_a_share_that_another_node_was_given_meanwhile_is_a_failure() -> None:
    def edit(data: dict[str, Any]) -> dict[str, Any]:
        return data | {"shares": {"n1": [*data["shares"]["n1"], *data["shares"]["n2"]], "n2": data["shares"]["n2"]}}

    found = verdict(changed(dumps(edit, what="node-join")), "robust.loss")
    assert [(leg.leg, leg.observed) for leg in found.legs if leg.status == "fail"] == [("n2/share", ["n1", "n2"])]
    assert "its share 10.244.1.0/24 belongs to n1, n2" in found.statement


def test_pods_that_were_collected_while_their_node_was_away_say_nothing_of_the_network() -> None:
    found = verdict(changed(dumps(lambda data: data | {"collected": ["c 1234"]}, what="node-join")), "robust.join")
    assert found.status == "error"
    assert "pods of n2 were taken away meanwhile: c 1234" in found.statement


def test_a_network_that_keeps_nothing_of_other_nodes_in_the_kernel_has_nothing_to_forget() -> None:
    def edit(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row | {"before": []} if row["kind"] == "fdb" else row for row in data]

    found = verdict(changed(dumps(edit, what="node-loss")), "robust.loss")
    assert found.status == "pass"
    assert "n1 had no forwarding entries to n2 that could go" in [leg.statement for leg in found.legs]


def test_a_pause_that_the_machine_had_too_is_no_loss_of_the_network() -> None:
    away = {"outcome": "lost", "received": 300, "gap": 200}
    run = changed(
        records("stream", away, purpose="loss", src="a", dst="b"), records("stream", away, purpose="loss", dst=SELF)
    )
    found = verdict(run, "robust.loss")
    assert found.status == "pass"
    assert {leg.status for leg in found.legs if leg.leg == "a>b/udp"} == {"record"}


def test_restarts_are_judged_without_the_streams_of_a_node_that_left() -> None:
    run = changed(records("stream", {"outcome": "lost", "received": 0}, purpose="loss"))
    assert verdict(run, "robust.restart").statement == verdict(green(), "robust.restart").statement
