"""A network is recognised by what is seen of it; of one that is not, no more is expected than of Kubernetes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness import yamlio
from harness.cni import catalogue
from harness.cni.recognise import GENERIC, Seen, recognise

FLANNEL = frozenset({"kube-system/kube-proxy", "kube-flannel/kube-flannel-ds"})
CILIUM = frozenset({"kube-system/cilium"})
RECORDED = Path(__file__).parents[2] / "golden/cni/cilium-configurations.yaml"
CONFIGURATIONS: dict[str, dict[str, str]] = yamlio.loads(RECORDED.read_text(encoding="utf-8"))
"""What helm made of the chart for every variant; tests/e2e/test_cilium.py holds it against what it makes today."""


def flannel(**net: Any) -> Seen:
    conf = {"Network": "10.42.0.0/16", "Backend": {"Type": "vxlan"}} | net
    return Seen(FLANNEL, {"flannel": {"net-conf.json": json.dumps(conf)}})


@pytest.mark.parametrize("name", ["flannel", "flannel-host-gw"])
def test_flannel_is_recognised_by_its_backend(name: str) -> None:
    found = recognise(flannel(Backend=catalogue.variant(name).values["backend"]), dns=True)
    assert (found.variant.name, found.cidr, found.known) == (name, "10.42.0.0/16", True)


def test_ranges_of_both_families_are_read() -> None:
    found = recognise(flannel(EnableIPv6=True, IPv6Network="fd00:42::/56"), dns=True)
    assert found.cidr == "10.42.0.0/16,fd00:42::/56"
    pools = {"cluster-pool-ipv4-cidr": "10.42.0.0/16", "cluster-pool-ipv6-cidr": "fd00:42::/56"}
    config = CONFIGURATIONS["cilium-cluster-pool"] | pools
    assert recognise(Seen(CILIUM, {"cilium": config}), dns=True).cidr == "10.42.0.0/16,fd00:42::/56"


def test_the_tunnel_of_this_cluster_is_expected_not_the_usual_one() -> None:
    expect = recognise(flannel(Backend={"Type": "vxlan", "VNI": 4096, "Port": 4789}), dns=True).variant.expect
    assert (expect.wire.vni, expect.wire.port, expect.overlay_device) == (4096, 4789, "flannel.4096")
    assert expect.links == ("flannel.4096", "cni0")
    six = expect.of("ipv6")
    assert (six.overlay_device, six.links, six.wire.vni) == ("flannel-v6.4096", ("flannel-v6.4096", "cni0"), 4096)


@pytest.mark.parametrize("name", [name for name in catalogue.names() if catalogue.variant(name).driver == "cilium"])
def test_every_variant_of_cilium_is_recognised_by_its_own_configuration(name: str) -> None:
    assert recognise(Seen(CILIUM, {"cilium": CONFIGURATIONS[name]}), dns=True).variant.name == name


def test_a_policy_mode_of_its_own_is_another_network() -> None:
    """Where everything is closed that no policy opens, nothing that the catalogue promises of pods holds."""
    modes = {mode: CONFIGURATIONS["cilium"] | {"enable-policy": mode} for mode in ("default", "never", "always")}
    found = {mode: recognise(Seen(CILIUM, {"cilium": one}), dns=True).variant.name for mode, one in modes.items()}
    assert found == {"default": "cilium", "never": "cilium-lean", "always": GENERIC}


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (Seen(), "no agent of a network was seen"),
        (Seen(frozenset({"kube-system/calico-node", "kube-system/kube-proxy"})), "kube-system/calico-node"),
        (Seen(conf_files=("10-aws.conflist",)), "the CNI configuration 10-aws.conflist is not known"),
        (Seen(FLANNEL), "ConfigMap kube-flannel/kube-flannel-cfg cannot be read"),
        (flannel(Backend={"Type": "wireguard"}), "flannel in a mode that the catalogue lacks"),
        (flannel(Backend={"Type": "vxlan", "DirectRouting": True}), "flannel in a mode that the catalogue lacks"),
    ],
)
def test_what_is_not_recognised_is_generic_and_says_why(seen: Seen, why: str) -> None:
    found = recognise(seen, dns=True)
    assert found.variant.name == GENERIC
    assert why in found.why


def test_a_generic_network_promises_the_model_alone() -> None:
    gates = recognise(Seen(), dns=True).variant.gates
    assert set(gates) == {"ctr", "kubelet", "svc", "dns"}
    assert "dns" not in recognise(Seen(), dns=False).variant.gates
