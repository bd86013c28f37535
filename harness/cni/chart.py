"""The same cilium from its published chart: a variant's configuration as Helm values. Pure.

A lab's nodes reach no registry, so `harness.cni.cilium` renders the objects for images that are built here. A cluster
that can pull takes the published images, and then cilium's own chart is the way to install them. Both are made of one
variant's data: the chart's templates (install/kubernetes/cilium/templates/cilium-configmap.yaml of 1.15) say which
value becomes which key of `cilium-config`, and this module has it the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from harness.cni import apiserver
from harness.cni.cilium import configuration
from harness.model.spec import LabSpec
from harness.model.variant import Variant
from harness.model.wellknown import API_PORT

VERSION: Final = "1.15.19"
"""Of the chart; it names images of the same version."""


Value = bool | int | str | list[str]


def _switch(text: str) -> bool:
    return text == "true"


def _off(text: str) -> bool:
    return text != "true"


def _port(text: str) -> int:
    return int(text.rpartition(":")[2])


VALUES: Final[Mapping[str, tuple[str, Callable[[str], Value]]]] = {
    "auto-direct-node-routes": ("autoDirectNodeRoutes", _switch),
    "bpf-ct-global-any-max": ("bpf.ctAnyMax", int),
    "bpf-ct-global-tcp-max": ("bpf.ctTcpMax", int),
    "bpf-nat-global-max": ("bpf.natMax", int),
    "bpf-neigh-global-max": ("bpf.neighMax", int),
    "cluster-pool-ipv4-cidr": ("ipam.operator.clusterPoolIPv4PodCIDRList", str.split),
    "cluster-pool-ipv4-mask-size": ("ipam.operator.clusterPoolIPv4MaskSize", int),
    "devices": ("devices", str.split),
    "direct-routing-device": ("nodePort.directRoutingDevice", str),
    "enable-bpf-masquerade": ("bpf.masquerade", _switch),
    "enable-endpoint-health-checking": ("endpointHealthChecking.enabled", _switch),
    "enable-endpoint-routes": ("endpointRoutes.enabled", _switch),
    "enable-health-checking": ("healthChecking", _switch),
    "enable-hubble": ("hubble.enabled", _switch),
    "enable-ipsec": ("encryption.enabled", _switch),
    "enable-ipv4-masquerade": ("enableIPv4Masquerade", _switch),
    "enable-l7-proxy": ("l7Proxy", _switch),
    "enable-policy": ("policyEnforcementMode", str),
    "enable-session-affinity": ("sessionAffinity", _switch),
    "enable-wireguard": ("encryption.enabled", _switch),
    "hubble-disable-tls": ("hubble.tls.enabled", _off),
    "hubble-listen-address": ("hubble.listenAddress", str),
    "hubble-metrics": ("hubble.metrics.enabled", str.split),
    "hubble-metrics-server": ("hubble.metrics.port", _port),
    "hubble-socket-path": ("hubble.socketPath", str),
    "ipam": ("ipam.mode", str),
    "ipv4-native-routing-cidr": ("ipv4NativeRoutingCIDR", str),
    "k8s-client-burst": ("k8sClientRateLimit.burst", int),
    "k8s-client-qps": ("k8sClientRateLimit.qps", int),
    "k8s-require-ipv4-pod-cidr": ("k8s.requireIPv4PodCIDR", _switch),
    "kube-proxy-replacement": ("kubeProxyReplacement", str),
    "operator-prometheus-serve-addr": ("operator.prometheus.port", _port),
    "prometheus-serve-addr": ("prometheus.port", _port),
    "routing-mode": ("routingMode", str),
    "tunnel-protocol": ("tunnelProtocol", str),
}
"""Key of `cilium-config` → the chart's value, and how its text becomes one."""

LEFT_OUT: Final = frozenset({"ipsec-key-file"})
"""Keys that variants choose and the chart has no value for: there it follows from the Secret."""

_ALWAYS: Final[Mapping[str, Value]] = {
    "operator.prometheus.enabled": True,
    "operator.replicas": 1,
    "prometheus.enabled": True,
}

_ENCRYPTION: Final = {"enable-wireguard": "wireguard", "enable-ipsec": "ipsec"}


def values(spec: LabSpec, variant: Variant) -> dict[str, Any]:
    """Values for `helm install cilium cilium/cilium --version 1.15.19 --namespace kube-system -f …`.

    Args:
        spec: Gives addresses and the NIC of the cluster.
        variant: One of cilium's.
    """
    config = configuration(spec, variant)
    found: dict[str, Any] = {}
    for path, value in _ALWAYS.items():
        _set(found, path, value)
    for key, (path, convert) in VALUES.items():
        if key in config:
            _set(found, path, convert(config[key]))
    for key, kind in _ENCRYPTION.items():
        if config.get(key) == "true":
            _set(found, "encryption.type", kind)
    if not variant.kube_proxy:
        # The agent makes the API's own ClusterIP work, so it has to be told an address.
        found |= {"k8sServiceHost": apiserver.address(spec), "k8sServicePort": API_PORT}
    return _sorted(found)


def _set(tree: dict[str, Any], path: str, value: Value) -> None:
    *parents, last = path.split(".")
    for name in parents:
        tree = tree.setdefault(name, {})
    tree[last] = value


def _sorted(tree: dict[str, Any]) -> dict[str, Any]:
    return {key: _sorted(value) if isinstance(value, dict) else value for key, value in sorted(tree.items())}
