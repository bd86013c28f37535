from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network

from harness import yamlio
from harness.cni import catalogue
from harness.cni.weave import manifests
from harness.model.spec import LabSpec, Pods, Underlay

VARIANT = catalogue.variant("weave")
SPEC = LabSpec(cni="weave", pods=Pods(cidr=IPv4Network("10.32.0.0/12")))


def told(spec: LabSpec) -> dict[str, str]:
    pod = manifests.manifests(spec, VARIANT)[-1]["spec"]["template"]["spec"]
    return {one["name"]: one["value"] for one in pod["containers"][0]["env"] if "value" in one}


def test_manifests_are_as_recorded(golden: Callable[[str, str], None]) -> None:
    golden("cni/weave.yaml", yamlio.dumps_all(manifests.manifests(SPEC, VARIANT)))


def test_named_alone_it_has_weaves_own_range() -> None:
    assert VARIANT.defaults == {"spec.pods.cidr": "10.32.0.0/12"}
    assert told(SPEC)["IPALLOC_RANGE"] == "10.32.0.0/12"
    assert told(LabSpec(cni="weave"))["IPALLOC_RANGE"] == "10.244.0.0/16"


def test_the_mtu_is_weaves_default_on_a_usual_wire_and_follows_another() -> None:
    assert told(SPEC)["WEAVE_MTU"] == "1376"
    assert told(LabSpec(cni="weave", underlay=Underlay(mtu=9000)))["WEAVE_MTU"] == "8876"


def test_routers_know_all_nodes_from_the_start() -> None:
    assert told(LabSpec(cni="weave", nodes=3))["KUBE_PEERS"] == "172.18.0.11 172.18.0.12 172.18.0.13"
