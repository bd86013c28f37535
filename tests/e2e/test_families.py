"""IP families: real clusters of both, which is what users get, and of one alone, judged over each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Cli
from tests.e2e.test_cluster import kubectl
from tests.e2e.verdicts import red

BEARING = (
    "model.pod-pod.cross-node", "model.no-nat.cross-node", "mtu.exact", "mtu.pmtud", "svc.clusterip.reach",
    "svc.nodeport", "dns.service", "egress.source", "node.masq-rules", "np.default",
)  # fmt: skip
"""Some of the checks that bear addresses."""

OPEN_FORWARD = "F106"
"""flannel accepts pods' traffic by rules of its own: a policy of DROP changes nothing there."""


def judged(cli: Cli, name: str) -> dict[str, Any]:
    """The whole suite; nothing may fail."""
    data = cli.data("test", "--cluster", name, code=None)
    assert red(data["items"]) == {}
    return data


def families(data: dict[str, Any], check: str) -> dict[str, str]:
    """What a check says of each family."""
    found: dict[str, str] = next(one["families"] for one in data["items"] if one["id"] == check)
    return found


def test_every_requirement_holds_over_both_families(flannel: tuple[Cli, str]) -> None:
    data = judged(*flannel)
    both = {"ipv4": "pass", "ipv6": "pass"}
    for check in BEARING:
        assert families(data, check) == both, check
    assert {one["id"]: one["status"] for one in data["items"]}["dual.service"] == "pass"


def test_pods_and_services_have_an_address_of_each_family(flannel: tuple[Cli, str]) -> None:
    pods = kubectl(
        flannel, "-n", "kube-system", "get", "pods", "-o", "jsonpath={.items[0].status.podIPs[*].ip}"
    ).split()
    assert [":" in address for address in pods] == [False, True]
    dns = kubectl(flannel, "-n", "kube-system", "get", "service", "kube-dns", "-o", "jsonpath={.spec.clusterIPs[*]}")
    assert dns.split() == ["10.96.0.10", "fd00:10:96::a"]


@pytest.mark.night
def test_a_cluster_of_ipv4_alone_has_no_ipv6(cli: Cli, untouched: list[str]) -> None:
    name = untouched[0]
    cli("up", "flannel", "--ip-family", "ipv4", "--name", name)
    data = judged(cli, name)
    assert families(data, "model.pod-pod.cross-node") == {}, "where there is IPv4 alone, families are not told"
    assert {one["id"]: one["status"] for one in data["items"]}["dual.pod-ips"] == "not-applicable"
    cli("down", name)


def test_links_without_room_for_ipv6_give_a_cluster_of_ipv4_and_the_reason(cli: Cli, untouched: list[str]) -> None:
    done = cli("up", "flannel", "--name", untouched[0], "--mtu", "1300", "--nodes", "1")
    assert "the cluster has IPv4 alone: an underlay.mtu of 1300 leaves" in done.stderr
    cli("down", untouched[0])


def test_a_cluster_of_ipv6_alone_meets_what_one_of_ipv4_meets(cli: Cli, untouched: list[str]) -> None:
    name = untouched[0]
    cli("up", "bridge", "--ip-family", "ipv6", "--name", name)
    data = judged(cli, name)
    assert families(data, "model.pod-pod.cross-node") == {"ipv6": "pass"}
    assert families(data, "egress.source") == {"ipv6": "pass"}
    assert cli.mutations(name, OPEN_FORWARD)
    cli("down", name)


@pytest.mark.night
def test_the_primary_family_may_be_ipv6(cli: Cli, untouched: list[str], tmp_path: Path) -> None:
    spec = tmp_path / "six-first.yaml"
    spec.write_text(
        f"apiVersion: cnilab.dev/v1\nkind: Lab\nmetadata: {{name: {untouched[0]}}}\n"
        "spec:\n  cni: bridge\n  ipFamily: dual\n  primaryFamily: ipv6\n"
        "  pods: {cidr: 10.50.0.0/16, cidr6: 'fd50::/56'}\n  services: {cidr6: 'fd60::/112'}\n"
        "  underlay: {cidr6: 'fd70::/64'}\n"
    )
    cli("up", spec)
    there = (cli, untouched[0])
    assert kubectl(there, "get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIPs[*]}") == "fd60::1"
    first, second = kubectl(there, "get", "node", "n2", "-o", "jsonpath={.spec.podCIDRs[*]}").split()
    assert first.startswith("fd50:")
    assert second.startswith("10.50.")
    data = cli.data("test", "--select", "dual, identity, reach, dns", code=None)
    assert red(data["items"]) == {}
    cli("down")
