"""What a cluster turns out to be: ranges and nodes in each of its families, and what is not known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conformance.inventory import Site
from harness.cluster.access import Access
from harness.cluster.execute import PodRunner
from harness.cluster.kube import Kube
from harness.cluster.stream import Place
from harness.cni import catalogue
from harness.cni.recognise import Recognised, generic
from harness.model.family import Family
from harness.model.journal import Journal
from harness.providers.existing import tenancy
from harness.providers.existing.rights import Rights
from harness.providers.existing.survey import NodeInfo
from harness.steps.existing.described import described_before
from harness.steps.existing.look import Look, Nodes
from harness.steps.existing.preflight import Survey, Wish
from harness.steps.existing.stay import Stay

ACCESS = Access(Path("/kubeconfig"), "test", "https://[fd00::1]:6443")
ADDRESSES = {"n1": ("192.0.2.7", "fd00:2::7"), "n2": ("192.0.2.9", "fd00:2::9")}
SHARES = {"n1": ("10.1.0.0/24", "fd00:1::/64"), "n2": ("10.1.1.0/24", "fd00:1:0:1::/64")}
PODS = ["10.1.0.2", "fd00:1::2", "10.1.1.2", "fd00:1:0:1::2"]


class Ranges(Kube):
    """An API with ranges of Services."""

    def __init__(self, *ranges: str) -> None:
        super().__init__(Path("/kubeconfig"), access=ACCESS)
        self.ranges = ranges

    def raw(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        del body, more
        assert (method, path.rpartition("/")[2]) == ("GET", "servicecidrs")
        return {"items": [{"spec": {"cidrs": list(self.ranges)}}]}


def nodes(*, shares: bool = True) -> tuple[NodeInfo, ...]:
    return tuple(
        NodeInfo(name, own[0], addresses=own, pod_cidrs=SHARES[name] if shares else ())
        for name, own in ADDRESSES.items()
    )


def seen() -> Nodes:
    """Nodes whose links are known."""
    return Nodes(
        links={
            name: [
                {
                    "ifname": "ens3",
                    "mtu": 1450,
                    "addr_info": [{"local": own[0], "prefixlen": 24}, {"local": own[1], "prefixlen": 64}],
                }
            ]
            for name, own in ADDRESSES.items()
        }
    )


def look(families: tuple[Family, ...], *ranges: str, shares: bool = True) -> Look:
    there = nodes(shares=shares)
    kube = Ranges(*ranges)
    found = Survey(Wish(Path("/kubeconfig")), ACCESS, kube, "1.37.2", Rights({}), there, there, families=families)
    here = Stay(found, tenancy.mark("m", 1, 1, "run"), Journal())
    return Look(here, PodRunner(ACCESS, Place("", "")), None)  # type: ignore[arg-type]  # nothing is sent


def places(number: int) -> dict[str, str]:
    return {name: own[number] for name, own in ADDRESSES.items()}


def test_ranges_of_both_families_are_those_of_the_cluster() -> None:
    eye = look(("ipv4", "ipv6"), "10.9.0.0/16", "fd00:9::/112")
    before = described_before(eye.here.found, places(0), places(1))
    spec = eye.described(before, Recognised(generic(dns=True), ""), seen(), pods=PODS, domain="cluster.test")
    assert spec.families == ("ipv4", "ipv6")
    assert [str(one) for one in spec.pod_cidrs] == ["10.1.0.0/23", "fd00:1::/63"]
    assert [str(one) for one in spec.service_cidrs] == ["10.9.0.0/16", "fd00:9::/112"]
    assert [str(one) for one in spec.underlay_cidrs] == ["192.0.2.0/24", "fd00:2::/64"]
    assert (spec.cluster_nic, spec.services.domain) == ("ens3", "cluster.test")
    assert "ranges" not in eye.here.closed


def test_a_range_that_is_not_known_closes_the_gate_and_is_taken_from_addresses() -> None:
    eye = look(("ipv6",), "10.9.0.0/16", shares=False)
    before = described_before(eye.here.found, places(1))
    spec = eye.described(before, Recognised(generic(dns=True), ""), Nodes(), pods=PODS, domain="")
    assert spec.families == ("ipv6",)
    assert str(spec.pods.cidr6) == "fd00:1::/63"
    assert str(spec.underlay.cidr6) == "fd00:2::/124"
    assert eye.here.closed["ranges"] == "the range of pods and Services and nodes is not known"


def test_what_a_networks_configuration_says_counts_more_than_shares() -> None:
    eye = look(("ipv4", "ipv6"), "10.9.0.0/16", "fd00:9::/112")
    before = described_before(eye.here.found, places(0), places(1))
    known = Recognised(catalogue.variant("flannel"), "", "10.0.0.0/8,fd00:1::/56")
    spec = eye.described(before, known, seen(), pods=PODS, domain="")
    assert (spec.cni, [str(one) for one in spec.pod_cidrs]) == ("flannel", ["10.0.0.0/8", "fd00:1::/56"])


@pytest.mark.parametrize("number", [0, 1])
def test_nodes_are_known_by_their_addresses_and_shares_of_each_family(number: int) -> None:
    eye = look(("ipv4", "ipv6") if number == 0 else ("ipv6", "ipv4"))
    before = described_before(eye.here.found, places(number), places(1 - number))
    sites = [Site(name=name, kind="pod", node=name, ip="10.1.0.2") for name in ADDRESSES]
    known = Recognised(catalogue.variant("flannel"), "")
    first, _ = eye.node_facts(before, seen(), known, {}, sites)
    assert (first.address, first.mtu) == (ADDRESSES["n1"][number], 1450)
    assert first.addresses == (ADDRESSES["n1"][number], ADDRESSES["n1"][1 - number])
    assert first.pod_cidrs == SHARES["n1"]
