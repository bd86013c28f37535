"""Which nodes a run looks at: a sample that has every kind of node, the same for the same seed."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.providers.existing.families import within
from harness.providers.existing.survey import NodeInfo, choose, node, supernet


def info(number: int, zone: str = "", *, control_plane: bool = False, **facts: object) -> NodeInfo:
    made = NodeInfo(f"n{number:03}", f"10.0.{number // 250}.{number % 250 + 1}", zone, control_plane)
    return NodeInfo(**{**vars(made), **facts})


FIFTY = [info(n, f"z{n % 3}", control_plane=n < 3) for n in range(50)]


def test_small_clusters_are_looked_at_whole() -> None:
    assert [one.name for one in choose(FIFTY[:4], 10, 1)] == ["n000", "n001", "n002", "n003"]


def test_a_sample_has_every_zone_and_role() -> None:
    sample = choose(FIFTY, 10, 1)
    assert len(sample) == 10
    assert len({(one.zone, one.control_plane) for one in sample}) == 6
    assert max(Counter(one.zone for one in sample).values()) <= 4


def test_the_seed_decides() -> None:
    assert choose(FIFTY, 10, 7) == choose(list(reversed(FIFTY)), 10, 7)
    assert choose(FIFTY, 10, 7) != choose(FIFTY, 10, 8)


def test_nodes_that_cannot_run_pods_are_left_out() -> None:
    nodes = [info(1), info(2, ready=False), info(3, system="windows"), info(4, address="")]
    assert [one.name for one in choose(nodes, 10, 1)] == ["n001"]
    assert [one.obstacle for one in nodes[1:]] == ["is not Ready", "runs windows", "has no IPv4 InternalIP"]


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), min_size=1, max_size=80),
    st.integers(1, 20),
    st.integers(0, 5),
)
def test_a_sample_has_the_size_asked_for_and_as_many_strata_as_fit(
    kinds: list[tuple[str, bool]], size: int, seed: int
) -> None:
    nodes = [info(number, zone, control_plane=role) for number, (zone, role) in enumerate(kinds)]
    sample = choose(nodes, size, seed)
    assert len(sample) == min(size, len(nodes))
    assert len(set(sample)) == len(sample)
    if len(nodes) > size:
        assert len({(one.zone, one.control_plane) for one in sample}) == min(size, len(set(kinds)))


def test_a_node_is_read_from_its_object() -> None:
    item = {
        "metadata": {
            "name": "w1",
            "labels": {"topology.kubernetes.io/zone": "a", "node-role.kubernetes.io/control-plane": ""},
        },
        "spec": {"podCIDR": "10.244.3.0/24"},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": "fd00::1"},
                {"type": "InternalIP", "address": "192.0.2.7"},
                {"type": "Hostname", "address": "w1"},
            ],
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"operatingSystem": "linux", "architecture": "arm64"},
        },
    }
    (found,) = within([node(item)], ("ipv4",))
    assert (found.address, found.zone, found.control_plane, found.pod_cidr) == ("192.0.2.7", "a", True, "10.244.3.0/24")
    assert found.usable


@pytest.mark.parametrize(
    ("networks", "whole"),
    [
        ([], "None"),
        (["10.244.0.0/24"], "10.244.0.0/24"),
        (["10.244.0.0/24", "10.244.1.0/24"], "10.244.0.0/23"),
        (["10.244.0.0/24", "10.244.5.0/24", "fd00::/64"], "10.244.0.0/21"),
        (["192.0.2.5", "192.0.2.9"], "192.0.2.0/28"),
    ],
)
def test_the_smallest_network_around_others(networks: list[str], whole: str) -> None:
    assert str(supernet(networks)) == whole
