"""Both IP families: real clusters that have them, judged over each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.faults.catalogue import faults
from tests.e2e.conftest import PREFIX, Cli
from tests.e2e.test_cluster import kubectl

OF_IPV6 = [fault.id for fault in faults() if fault.family == "ipv6"]
BEARING = (
    "model.pod-pod.cross-node", "model.no-nat.cross-node", "mtu.exact", "mtu.pmtud", "svc.clusterip.reach",
    "svc.nodeport", "dns.service", "egress.source", "node.masq-rules", "np.default",
)  # fmt: skip
"""Some of the checks that bear addresses."""

OPEN_FORWARD = "F106"
"""flannel accepts pods' traffic by rules of its own: a policy of DROP changes nothing there."""


@pytest.fixture(scope="module")
def dual(warm: Cli, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, str]]:
    """flannel with both families, which tests leave as it is."""
    del warm
    cli, name = Cli(tmp_path_factory.mktemp("dual")), f"{PREFIX}-dual"
    cli("up", "flannel", "--ip-family", "dual", "--name", name)
    yield cli, name
    cli("down", name)
    assert cli.labs() == {}


def judged(cli: Cli, name: str) -> dict[str, Any]:
    """The whole suite; nothing may fail."""
    data = cli.data("test", "--cluster", name)
    assert [one["id"] for one in data["items"] if one["status"] in {"fail", "error"}] == []
    return data


def families(data: dict[str, Any], check: str) -> dict[str, str]:
    """What a check says of each family."""
    found: dict[str, str] = next(one["families"] for one in data["items"] if one["id"] == check)
    return found


def test_every_requirement_holds_over_both_families(dual: tuple[Cli, str]) -> None:
    data = judged(*dual)
    both = {"ipv4": "pass", "ipv6": "pass"}
    for check in BEARING:
        assert families(data, check) == both, check
    assert {one["id"]: one["status"] for one in data["items"]}["dual.service"] == "pass"


def test_pods_and_services_have_an_address_of_each_family(dual: tuple[Cli, str]) -> None:
    pods = kubectl(dual, "-n", "kube-system", "get", "pods", "-o", "jsonpath={.items[0].status.podIPs[*].ip}").split()
    assert [":" in address for address in pods] == [False, True]
    dns = kubectl(dual, "-n", "kube-system", "get", "service", "kube-dns", "-o", "jsonpath={.spec.clusterIPs[*]}")
    assert dns.split() == ["10.96.0.10", "fd00:10:96::a"]


def test_a_fault_of_ipv6_is_noticed_over_ipv6_alone(dual: tuple[Cli, str]) -> None:
    """`spares` of these faults has the same checks over IPv4: an outcome "imprecise" is none of "killed"."""
    cli, name = dual
    cli.mutations(name, *(one for one in OF_IPV6 if one != OPEN_FORWARD))


def test_a_cluster_of_ipv6_alone_meets_what_one_of_ipv4_meets(cli: Cli, untouched: list[str]) -> None:
    name = untouched[0]
    cli("up", "bridge", "--ip-family", "ipv6", "--name", name)
    data = judged(cli, name)
    assert families(data, "model.pod-pod.cross-node") == {"ipv6": "pass"}
    assert families(data, "egress.source") == {"ipv6": "pass"}
    cli.mutations(name, OPEN_FORWARD)
    cli("down", name)


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
    data = cli.data("test", "--select", "dual, identity, reach, dns")
    assert [one["id"] for one in data["items"] if one["status"] in {"fail", "error"}] == []
    cli("down")
