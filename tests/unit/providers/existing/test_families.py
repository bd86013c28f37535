"""IP families of a cluster of others: what pods have counts most, and nodes and Services must have it, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.cluster.access import Access
from harness.cluster.kube import Kube
from harness.model.family import Family
from harness.providers.existing.families import of_cluster, within
from harness.providers.existing.rights import Rights
from harness.providers.existing.survey import NodeInfo, node, supernet
from harness.steps.existing.described import described_before
from harness.steps.existing.preflight import Survey, Wish

FOUR, SIX = "192.0.2.7", "fd00:2::7"


def info(name: str = "n1", *addresses: str, shares: tuple[str, ...] = ()) -> NodeInfo:
    return NodeInfo(name, addresses[0], addresses=addresses, pod_cidrs=shares, pod_cidr=next(iter(shares), ""))


def pod(*addresses: str, host: bool = False) -> dict[str, Any]:
    return {"spec": {"hostNetwork": host}, "status": {"podIPs": [{"ip": one} for one in addresses]}}


def service(*titles: str, address: str = "") -> dict[str, Any]:
    return {"spec": {"ipFamilies": list(titles), "clusterIP": address}}


BOTH = info("n1", FOUR, SIX, shares=("10.1.0.0/24", "fd00:1::/64"))


@pytest.mark.parametrize(
    ("pods", "nodes", "services", "ranges", "families"),
    [
        ([], [], [], [], ("ipv4",)),
        ([], [info("n1", FOUR)], [], [], ("ipv4",)),
        ([], [info("n1", SIX)], [], [], ("ipv6",)),
        ([], [], [service("IPv6")], [], ("ipv6",)),
        ([], [], [service(address="fd00::1")], [], ("ipv6",)),
        ([], [BOTH], [service("IPv4")], [], ("ipv4", "ipv6")),
        ([], [BOTH], [service("IPv6")], [], ("ipv6", "ipv4")),
        ([pod("10.1.0.2")], [BOTH], [service("IPv4")], [], ("ipv4",)),
        ([pod(FOUR, SIX, host=True), pod("10.1.0.2")], [BOTH], [], [], ("ipv4",)),
        ([pod("10.1.0.2", "fd00:1::2"), pod()], [BOTH], [], ["10.9.0.0/16", "fd00:9::/112"], ("ipv4", "ipv6")),
        ([pod("10.1.0.2", "fd00:1::2")], [BOTH], [], ["10.9.0.0/16"], ("ipv4",)),
        ([pod("fd00:1::2", "10.1.0.2")], [BOTH], [], [], ("ipv6", "ipv4")),
        ([pod("10.1.0.2", "fd00:1::2")], [info("n1", FOUR)], [], [], ("ipv4",)),
    ],
)
def test_families_are_those_that_pods_nodes_and_services_have(
    pods: list[dict[str, Any]],
    nodes: list[NodeInfo],
    services: list[dict[str, Any]],
    ranges: list[str],
    families: tuple[Family, ...],
) -> None:
    assert of_cluster(pods, nodes, services, ranges) == families


def test_nodes_have_their_address_in_the_primary_family_and_say_what_they_lack() -> None:
    four, six = within([BOTH, info("n2", FOUR)], ("ipv6", "ipv4"))
    assert (four.address, four.address_of("ipv4"), four.pod_cidr, four.usable) == (SIX, FOUR, "fd00:1::/64", True)
    assert (six.usable, six.obstacle) == (False, "has no IPv6 InternalIP")
    (only,) = within([info("n3", SIX)], ("ipv4",))
    assert only.obstacle == "has no IPv4 InternalIP"


def test_a_node_is_read_with_all_its_addresses_and_shares() -> None:
    addresses = [{"type": "InternalIP", "address": SIX}, {"type": "InternalIP", "address": FOUR}]
    item = {
        "metadata": {"name": "w1"},
        "spec": {"podCIDR": "fd00:1::/64", "podCIDRs": ["fd00:1::/64", "10.1.0.0/24"]},
        "status": {"addresses": addresses},
    }
    found = node(item)
    assert (found.address, found.addresses, found.pod_cidrs) == (SIX, (SIX, FOUR), ("fd00:1::/64", "10.1.0.0/24"))


@pytest.mark.parametrize(
    ("networks", "whole"),
    [
        (["10.244.0.0/24"], "None"),
        (["fd00:1::/64", "fd00:1:0:1::/64", "10.244.0.0/24"], "fd00:1::/63"),
        (["fd00::5", "fd00::9"], "fd00::/124"),
    ],
)
def test_the_smallest_network_of_ipv6_around_others(networks: list[str], whole: str) -> None:
    assert str(supernet(networks, "ipv6")) == whole


def found(*families: Family) -> Survey:
    access = Access(Path("/kubeconfig"), "Prod Cluster", "https://[fd00::1]:6443")
    kube = Kube(Path("/kubeconfig"), access=access)
    return Survey(Wish(Path("/kubeconfig")), access, kube, "1.37.2", Rights({}), (), (), families=families)


def test_a_cluster_is_described_in_its_own_families() -> None:
    dual = described_before(found("ipv6", "ipv4"), {"n1": SIX}, {"n1": FOUR})
    assert dual.families == ("ipv6", "ipv4")
    assert [str(one) for one in dual.all_addresses("n1")] == [SIX, FOUR]
    assert described_before(found("ipv6", "ipv4"), {"n1": SIX}, {"n1": ""}).families == ("ipv6",)
    assert described_before(found("ipv4"), {"n1": FOUR}).families == ("ipv4",)
    assert described_before(found("ipv4", "ipv6")).families == ("ipv4", "ipv6")
    assert described_before(found("ipv6"), {"n1": SIX}).all_addresses("n1") == dual.all_addresses("n1")[:1]
