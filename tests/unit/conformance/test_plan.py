"""Plans are complete where clusters are small, sampled without blind spots where they are large, linear in programs."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance import manifests, outward, pairs, plan, tables
from conformance.inventory import NAMESPACE, Inventory, NodeFact, Site
from harness.model.spec import LabSpec
from harness.probes.plan import ExchangeProbe, RungProbe
from tests.unit.conformance import simlab


def cluster(nodes: int, pods: int) -> Inventory:
    """Nodes with pods on them."""
    names = [f"n{number}" for number in range(1, nodes + 1)]
    return Inventory(
        nodes=tuple(NodeFact(name=name, address=f"172.18.0.{i + 11}", mtu=1500) for i, name in enumerate(names)),
        sites=tuple(
            Site(name=f"{name}-{slot}", kind="pod", node=name, ip=f"10.{number}.0.{slot + 2}")
            for number, name in enumerate(names)
            for slot in range(pods)
        ),
    )


def test_a_small_cluster_is_probed_in_full() -> None:
    small = cluster(3, 2)
    found = pairs.mesh_pairs(small, cross=True) + pairs.mesh_pairs(small, cross=False)
    assert len(set(found)) == len(found) == 6 * 5


@given(st.integers(min_value=5, max_value=14), st.integers(min_value=6, max_value=14), st.integers(0, 5))
def test_a_large_cluster_is_sampled_and_every_ordered_pair_of_nodes_is_hit(nodes: int, pods: int, seed: int) -> None:
    large = cluster(nodes, pods)
    found = pairs.mesh_pairs(large, cross=True, seed=seed)
    if len(large.pods) <= pairs.FULL_MESH:
        return
    assert {(src.node, dst.node) for src, dst in found} == set(itertools.permutations((n.name for n in large.nodes), 2))
    assert {src.name for src, _ in found} == {pod.name for pod in large.pods}
    assert all(src.node != dst.node for src, dst in found)
    assert len(found) < len(large.pods) * (len(large.pods) - 1)


def test_the_same_seed_gives_the_same_sample() -> None:
    large = cluster(8, 10)
    assert pairs.mesh_pairs(large, cross=True, seed=3) == pairs.mesh_pairs(large, cross=True, seed=3)
    assert pairs.mesh_pairs(large, cross=True, seed=3) != pairs.mesh_pairs(large, cross=True, seed=4)


def test_programs_grow_with_sites_and_never_with_pairs() -> None:
    lab = simlab.Lab()
    gates = lab.context.gates
    plans = [plan.mesh(lab.inventory), plan.services(lab.inventory, gates)]
    assert plan.commands(plans) <= 2 * len(lab.inventory.sites)


def test_every_ladder_expects_a_refusal_just_above_the_effective_mtu() -> None:
    lab = simlab.Lab()
    rungs = [
        probe
        for probes in plan.packets(lab.inventory, lab.variant.expect).values()
        for probe in probes
        if isinstance(probe, RungProbe)
    ]
    assert {probe.size: probe.expect for probe in rungs} == {
        576: "ok", 1280: "ok", 1449: "ok", 1450: "ok", 1451: "msgsize", 1500: "msgsize", 1501: "msgsize",
    }  # fmt: skip


def test_without_a_router_nothing_is_asked_of_it() -> None:
    lab = simlab.Lab()
    gates = {**lab.context.gates, "router": False}
    assert "router" not in plan.services(lab.inventory, gates)
    assert outward.egress(lab.inventory, lab.variant.expect, gates) == {}


def test_all_pods_use_one_source_port_to_the_outside() -> None:
    lab = simlab.Lab()
    asked = outward.egress(lab.inventory, lab.variant.expect, lab.context.gates, 23456)
    ports = {
        probe.source_port
        for probes in asked.values()
        for probe in probes
        if isinstance(probe, ExchangeProbe) and probe.purpose == "egress-port"
    }
    assert ports == {23456}


@pytest.mark.parametrize("nodes", [1, 2, 3, 20])
def test_every_node_gets_two_pods_and_a_host_network_pod(nodes: int) -> None:
    plans = manifests.pod_plans(LabSpec(nodes=nodes))
    assert len({pod.name for pod in plans}) == len(plans) == 3 * nodes
    for name in LabSpec(nodes=nodes).node_names:
        mine = [pod for pod in plans if pod.node == name]
        assert [pod.host_network for pod in mine] == [False, False, True]
        assert mine[0].containers == ("main", "sibling")


def test_names_of_pods_go_on_after_z() -> None:
    assert list(itertools.islice(manifests.pod_names(), 28))[-3:] == ["z", "aa", "ab"]


def test_objects_are_all_in_the_suites_own_namespace() -> None:
    objects = manifests.objects(LabSpec(nodes=2))
    assert objects[0]["kind"] == "Namespace"
    assert {item["metadata"]["namespace"] for item in objects[1:]} == {NAMESPACE}
    assert len({(item["kind"], item["metadata"]["name"]) for item in objects}) == len(objects)


def test_pods_serve_every_port_of_the_list() -> None:
    pod = next(item for item in manifests.pods(LabSpec(nodes=2)) if item["metadata"]["name"] == "a")
    listening = pod["spec"]["containers"][0]["args"][-1].split(",")
    assert {str(port) for port in tables.ports()} <= set(listening)
    assert len(listening) == len(set(listening))


def test_the_large_answer_is_larger_than_what_fits_one_datagram() -> None:
    assert len(manifests.crowd_addresses("ipv4")) * 16 > 512
