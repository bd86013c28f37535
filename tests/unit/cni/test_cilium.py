from __future__ import annotations

import base64
from collections.abc import Callable
from ipaddress import IPv4Network
from typing import Any

import pytest

from harness import yamlio
from harness.cni import catalogue, cilium
from harness.components import recipes
from harness.components.lock import load
from harness.model.spec import LabSpec, Pods, Underlay

VARIANTS = [name for name in catalogue.names() if name.startswith("cilium")]


def config(name: str, spec: LabSpec | None = None) -> dict[str, str]:
    return cilium.configuration(spec or LabSpec(cni=name), catalogue.variant(name))


def found(kind: str, name: str) -> dict[str, Any]:
    objects = cilium.manifests(LabSpec(cni="cilium"), catalogue.variant("cilium"))
    return next(item for item in objects if (item["kind"], item["metadata"]["name"]) == (kind, name))


def pod(kind: str, name: str) -> dict[str, Any]:
    template: dict[str, Any] = found(kind, name)["spec"]["template"]["spec"]
    return template


def test_manifests_are_as_recorded(golden: Callable[[str, str], None]) -> None:
    golden("cni/cilium.yaml", yamlio.dumps_all(cilium.manifests(LabSpec(cni="cilium"), catalogue.variant("cilium"))))


def test_configurations_of_all_variants_are_as_recorded(golden: Callable[[str, str], None]) -> None:
    """Only what differs from the first, so that a reader sees what a variant is."""
    base = config("cilium")
    shown: dict[str, dict[str, str | None]] = {}
    for name in VARIANTS:
        own = config(name)
        shown[name] = {key: own.get(key) for key in sorted({*base, *own}) if own.get(key) != base.get(key)}
    golden("cni/cilium-configurations.yaml", yamlio.dumps(shown))


@pytest.mark.parametrize("name", VARIANTS)
def test_every_value_is_text_as_a_config_map_wants_it(name: str) -> None:
    assert {type(value) for value in config(name).values()} == {str}


def test_images_are_those_that_are_built() -> None:
    built = {image.name: image.reference for image in recipes.images(load())}
    assert (built["cilium"], built["cilium-operator"]) == (cilium.IMAGE, cilium.OPERATOR_IMAGE)


def test_names_and_labels_are_upstreams() -> None:
    agent = found("DaemonSet", "cilium")
    assert agent["metadata"]["namespace"] == "kube-system"
    assert agent["spec"]["template"]["metadata"]["labels"]["k8s-app"] == "cilium"
    operator = found("Deployment", "cilium-operator")
    assert operator["spec"]["template"]["metadata"]["labels"]["io.cilium/app"] == "operator"


@pytest.mark.parametrize(("kind", "name"), [("DaemonSet", "cilium"), ("Deployment", "cilium-operator")])
def test_the_api_server_is_reached_without_a_service(kind: str, name: str) -> None:
    environment = {item["name"]: item.get("value") for item in pod(kind, name)["containers"][0]["env"]}
    assert environment["KUBERNETES_SERVICE_HOST"] == "172.18.0.11"
    assert environment["KUBERNETES_SERVICE_PORT"] == "6443"


def test_the_agent_writes_sysctls_through_the_nodes_own_proc() -> None:
    """Not through its container's: the node has stand-ins there for what belongs to the machine."""
    mounts = {mount["mountPath"] for mount in pod("DaemonSet", "cilium")["containers"][0]["volumeMounts"]}
    assert {"/host/proc/sys/net", "/host/proc/sys/kernel"} <= mounts
    assert config("cilium")["procfs"] == "/host/proc"
    assert "privileged" not in pod("DaemonSet", "cilium")["containers"][0]["securityContext"]


def test_native_routing_knows_the_pod_network_of_the_spec() -> None:
    spec = LabSpec(pods=Pods(cidr=IPv4Network("10.50.0.0/16")), underlay=Underlay(dual_homed=True))
    assert config("cilium", spec)["ipv4-native-routing-cidr"] == "10.50.0.0/16"
    assert config("cilium", spec)["devices"] == "eth1"
    assert "ipv4-native-routing-cidr" not in config("cilium-vxlan", spec)


def test_a_cluster_pool_has_the_range_and_the_share_of_the_spec() -> None:
    spec = LabSpec(pods=Pods(cidr=IPv4Network("10.50.0.0/16"), node_mask=26))
    pool = config("cilium-cluster-pool", spec)
    assert (pool["cluster-pool-ipv4-cidr"], pool["cluster-pool-ipv4-mask-size"]) == ("10.50.0.0/16", "26")
    assert "k8s-require-ipv4-pod-cidr" not in pool


@pytest.mark.parametrize("name", VARIANTS)
def test_gates_say_what_the_configuration_does(name: str) -> None:
    variant, chosen = catalogue.variant(name), config(name)
    assert ("kpf" in variant.gates) == (chosen["kube-proxy-replacement"] == "true")
    assert ("kp" in variant.gates) != ("kpf" in variant.gates)
    assert variant.kube_proxy == ("kp" in variant.gates)
    assert ("ncidr" in variant.gates) == (chosen["ipam"] == "kubernetes")
    assert (variant.expect.masquerade == "bpf") == (chosen["enable-bpf-masquerade"] == "true")
    assert (variant.expect.overlay_device is not None) == (chosen["routing-mode"] == "tunnel")


def test_ipsec_nodes_share_a_key_of_the_labs_own() -> None:
    def objects(lab: str) -> list[dict[str, Any]]:
        return cilium.manifests(LabSpec(name=lab, cni="cilium-ipsec"), catalogue.variant("cilium-ipsec"))

    def key(lab: str) -> str:
        (secret,) = (item for item in objects(lab) if item["kind"] == "Secret")
        return base64.b64decode(secret["data"]["keys"]).decode()

    spi, algorithm, digits, icv = key("one").split()
    assert (spi, algorithm, icv) == ("3", "rfc4106(gcm(aes))", "128")
    assert len(bytes.fromhex(digits)) == 20  # 16 of AES-128, 4 of salt (RFC 4106, section 8.1)
    assert key("one") == key("one") != key("two")


def test_only_ipsec_mounts_keys() -> None:
    def mounts(name: str) -> set[str]:
        objects = cilium.manifests(LabSpec(cni=name), catalogue.variant(name))
        agents = next(item for item in objects if item["kind"] == "DaemonSet")["spec"]["template"]["spec"]
        return {one["mountPath"] for one in agents["containers"][0]["volumeMounts"]}

    assert mounts("cilium-ipsec") - mounts("cilium") == {"/etc/ipsec"}
