from __future__ import annotations

import base64
from collections.abc import Callable
from ipaddress import IPv4Network
from typing import Any

import pytest

from harness import yamlio
from harness.cni import catalogue
from harness.cni.cilium import values as cilium
from harness.components import recipes
from harness.components.lock import load
from harness.model.spec import LabSpec, Pods, Underlay
from harness.steps.lifecycle.render import render

VARIANTS = [name for name in catalogue.names() if catalogue.variant(name).driver == "cilium"]


def values(name: str, spec: LabSpec | None = None) -> dict[str, Any]:
    return cilium.values(spec or LabSpec(cni=name), catalogue.variant(name))


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by their paths, as `--set` has them."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def test_values_of_the_first_variant_are_as_recorded(golden: Callable[[str, str], None]) -> None:
    golden("cni/cilium-values.yaml", yamlio.dumps(values("cilium")))


def test_values_of_all_variants_are_as_recorded(golden: Callable[[str, str], None]) -> None:
    """Only what differs from the first, so that a reader sees what a variant is."""
    base = flat(values("cilium"))
    shown: dict[str, dict[str, Any]] = {}
    for name in VARIANTS:
        own = flat(values(name))
        shown[name] = {key: own.get(key) for key in sorted({*base, *own}) if own.get(key) != base.get(key)}
    golden("cni/cilium-variants.yaml", yamlio.dumps(shown))


def test_images_that_are_built_have_the_version_of_the_chart() -> None:
    """The chart names images of its own version; all are of one component."""
    lock = load()
    version = lock.component[cilium.RELEASE.component].pinned
    built = {image.name: image.reference for image in recipes.images(lock)}
    assert built["cilium"] == f"quay.io/cilium/cilium:v{version}"
    assert built["cilium-operator"] == f"quay.io/cilium/operator-generic:v{version}"
    assert built["hubble-relay"] == f"quay.io/cilium/hubble-relay:v{version}"


def test_the_api_server_is_reached_without_a_service() -> None:
    assert (values("cilium")["k8sServiceHost"], values("cilium")["k8sServicePort"]) == ("172.18.0.11", 6443)


def test_the_agent_asks_for_nothing_that_a_machine_may_not_have() -> None:
    for capabilities in values("cilium")["securityContext"]["capabilities"].values():
        assert "SYS_RESOURCE" not in capabilities


def test_native_routing_knows_the_pod_network_of_the_spec() -> None:
    spec = LabSpec(pods=Pods(cidr=IPv4Network("10.50.0.0/16")), underlay=Underlay(dual_homed=True))
    assert values("cilium", spec)["ipv4NativeRoutingCIDR"] == "10.50.0.0/16"
    assert values("cilium", spec)["devices"] == ["eth1"]
    assert "ipv4NativeRoutingCIDR" not in values("cilium-vxlan", spec)


def test_a_cluster_pool_has_the_range_and_the_share_of_the_spec() -> None:
    spec = LabSpec(pods=Pods(cidr=IPv4Network("10.50.0.0/16"), node_mask=26))
    pool = values("cilium-cluster-pool", spec)
    assert pool["ipam"] == {
        "mode": "cluster-pool",
        "operator": {"clusterPoolIPv4MaskSize": 26, "clusterPoolIPv4PodCIDRList": ["10.50.0.0/16"]},
    }
    assert "k8s" not in pool
    assert values("cilium")["k8s"] == {"requireIPv4PodCIDR": True}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variants_choice_wins(name: str) -> None:
    chosen = flat(catalogue.variant(name).values["helm"])
    assert {path: value for path, value in flat(values(name)).items() if path in chosen} == chosen


@pytest.mark.parametrize("name", VARIANTS)
def test_gates_say_what_the_values_do(name: str) -> None:
    variant, chosen = catalogue.variant(name), values(name)
    assert ("kpf" in variant.gates) == (chosen["kubeProxyReplacement"] == "true")
    assert ("kp" in variant.gates) != ("kpf" in variant.gates)
    assert variant.kube_proxy == ("kp" in variant.gates)
    assert ("ncidr" in variant.gates) == (chosen["ipam"]["mode"] == "kubernetes")
    assert (variant.expect.masquerade == "bpf") == chosen["bpf"]["masquerade"]
    assert (variant.expect.overlay_device is not None) == (chosen["routingMode"] == "tunnel")


def test_every_variant_can_be_recognised() -> None:
    """What a ConfigMap shows is enough to recognise each of them."""
    seen = {name: tuple(cilium.decisive(catalogue.variant(name).values["helm"]).items()) for name in VARIANTS}
    assert len(set(seen.values())) == len(VARIANTS)


def test_ipsec_nodes_share_a_key_of_the_labs_own() -> None:
    def objects(lab: str) -> list[dict[str, Any]]:
        return cilium.manifests(LabSpec(name=lab, cni="cilium-ipsec"), catalogue.variant("cilium-ipsec"))

    def key(lab: str) -> str:
        (secret,) = objects(lab)
        return base64.b64decode(secret["data"]["keys"]).decode()

    spi, algorithm, digits, icv = key("one").split()
    assert (spi, algorithm, icv) == ("3", "rfc4106(gcm(aes))", "128")
    assert len(bytes.fromhex(digits)) == 20  # 16 of AES-128, 4 of salt (RFC 4106, section 8.1)
    assert key("one") == key("one") != key("two")


def test_only_ipsec_has_a_secret_beside_the_chart() -> None:
    assert [name for name in VARIANTS if cilium.manifests(LabSpec(cni=name), catalogue.variant(name))] == [
        "cilium-ipsec"
    ]


def test_render_has_the_values() -> None:
    files = render(LabSpec(cni="cilium"), catalogue.variant("cilium"))
    assert yamlio.loads(files["helm/cilium-values.yaml"]) == values("cilium")
    assert not [path for path in render(LabSpec(), catalogue.variant("flannel")) if path.startswith("helm/")]
