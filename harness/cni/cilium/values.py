"""cilium by its own chart: a variant's data and a lab's addresses as Helm values. Pure.

What a lab cannot have, or does itself, the chart is told by its own values:

- There is no Envoy: layer 7 policies, Ingress and Gateway API are off.
- The BPF file system and cgroup v2 are mounted by the node, as systemd does on a real one, and not by init containers.
- The agent reads its ConfigMap from a volume: an init container, which would also merge CiliumNodeConfig objects, would
  cost a start of its own on every node.
- Probes ask every second, for a lab's sake.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, Final

from harness.cni import apiserver
from harness.cni.footprint import LEASES, Footprint
from harness.cni.release import Release
from harness.model.family import TITLE
from harness.model.spec import LabSpec
from harness.model.variant import Variant
from harness.model.wellknown import API_PORT, CILIUM_CGROUPS

Object = dict[str, Any]

NAMESPACE: Final = "kube-system"
CGROUP_ROOT = CILIUM_CGROUPS
"""Where the chart mounts cgroup v2; here the node does it."""

MAPS = {
    "Services": "cilium_lb4_services_v2",
    "backends": "cilium_lb4_backends_v3",
    "TCP connections": "cilium_ct4_global",
    "other connections": "cilium_ct_any4_global",
    "translations": "cilium_snat_v4_external",
    "addresses and identities": "cilium_ipcache_v2",
    "endpoints of the node": "cilium_lxc",
}
"""Pinned maps by what they hold."""
MAPS_DIR = "/sys/fs/bpf/tc/globals"
COUNTERS = "cilium_metrics"
REASONS = {
    0: "forwarded",
    3: "seen on an interface",
    4: "seen on an interface, decrypted",
    9: "a fragment",
    12: "seen on an interface, to be decrypted",
    13: "seen on an interface, to be encrypted",
    15: "an ICMP error about the MTU",
    133: "denied by policy",
    139: "dropped, unsupported L3 protocol",
    181: "denied by a deny rule",
}
"""Of the counters (pkg/monitor/api/drop.go); a drop's reason is its error without the sign."""

FOOTPRINT = Footprint(
    links=("cilium_*", "lxc*"),
    chains=("CILIUM_*", "OLD_CILIUM_*"),
    sets=("cilium_*",),
    tables=("200", "2004", "2005"),  # IPsec, to and from its proxies (pkg/datapath/linux/linux_defaults)
    programs=("cil_*",),
    cgroup=CGROUP_ROOT,
    files=(
        "/etc/cni/net.d/05-cilium.conflist",
        "/opt/cni/bin/cilium-cni",
        "/opt/cni/bin/.cilium-cni.new",
        "/run/cilium/*",
        "/sys/fs/bpf/cilium",
        "/sys/fs/bpf/tc",
        LEASES,
    ),
    plugins=("cilium-cni",),
    annotations=("network.cilium.io/", "io.cilium.network"),
    groups=("cilium.io",),
    leases=("kube-system/cilium-operator-resource-lock",),
)

# The chart's list, but for one: SYS_RESOURCE is for RLIMIT_MEMLOCK, which BPF does without since Linux 5.11, and not
# every machine that runs a lab has it to give.
_AGENT_CAPABILITIES = (
    "CHOWN", "KILL", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "SYS_MODULE", "SYS_ADMIN", "BPF", "PERFMON", "DAC_OVERRIDE",
    "FOWNER", "SETGID", "SETUID", "SYSLOG",
)  # fmt: skip
_CLEANING_CAPABILITIES = ("NET_ADMIN", "SYS_MODULE", "SYS_ADMIN")

_COMMON: Final[Object] = {
    # Images are built here, so they have digests of their own.
    "image": {"useDigest": False},
    "operator": {
        "image": {"useDigest": False},
        "replicas": 1,
        "prometheus": {"enabled": True},
        # Nodes without an agent take no pods: they have no network then, and are not Ready.
        "setNodeTaints": False,
        "removeNodeTaints": False,
    },
    "prometheus": {"enabled": True},
    # No Envoy in the image, and none beside it.
    "envoy": {"enabled": False},
    "l7Proxy": False,
    # They are a program of their own in a namespace of its own on every node; a lab probes from its own pods.
    "healthChecking": False,
    "endpointHealthChecking": {"enabled": False},
    # A shell and iptables-save at every start, for nodes that once were Amazon's.
    "cni": {"iptablesRemoveAWSRules": False},
    "cgroup": {"autoMount": {"enabled": False}, "hostRoot": CGROUP_ROOT},
    "sysctlfix": {"enabled": False},
    "daemon": {"configSources": "config-map:cilium-config"},
    "securityContext": {
        "capabilities": {
            "ciliumAgent": list(_AGENT_CAPABILITIES),
            "cleanCiliumState": list(_CLEANING_CAPABILITIES),
        }
    },
    "bpf": {
        "autoMount": {"enabled": False},
        # Distributions' bpftool and tc show no programs that are attached by TCX.
        "enableTCX": False,
        # Tables of connections are LRU hashes, which are allocated whole. The chart gives them a share of the machine's
        # memory, and a lab has many nodes on one machine.
        "ctAnyMax": 16384,
        "ctTcpMax": 32768,
        "natMax": 32768,
        "neighMax": 32768,
    },
    # Unasked, client-go makes do with 5 requests in a second, and the chart's 10 are not many more: the operator takes
    # 4 s for its definitions then, which all agents wait for.
    "k8sClientRateLimit": {"qps": 100, "burst": 200, "operator": {"qps": 100, "burst": 200}},
    # A pod whose labels change gets its new identity up to 30 s late, at random, so that thousands of agents do not ask
    # at once (identity-max-jitter, pkg/endpoint/endpoint.go); a lab has few.
    "extraConfig": {"identity-max-jitter": "0s"},
    "startupProbe": {"periodSeconds": 1},
    "readinessProbe": {"periodSeconds": 2},
}


def values(spec: LabSpec, variant: Variant) -> Object:
    """Values for cilium's chart: what all labs say, then the lab's addresses, then the variant's choices.

    Args:
        spec: Gives addresses and the NIC of the cluster.
        variant: One of cilium's.
    """
    chosen: Object = variant.values["helm"]
    lab: Object = {
        "devices": [spec.cluster_nic],
        "nodePort": {"directRoutingDevice": spec.cluster_nic},
        # Nobody else makes the API's own Service work while agents start.
        "k8sServiceHost": apiserver.address(spec),
        "k8sServicePort": API_PORT,
    }
    pool, required = Object(), Object()
    for family in spec.families:
        number, title = family.removeprefix("ip"), TITLE[family]
        if chosen["routingMode"] == "native":
            lab[f"ip{number}NativeRoutingCIDR"] = str(spec.pods.range(family))
        pool[f"clusterPool{title}PodCIDRList"] = [str(spec.pods.range(family))]
        pool[f"clusterPool{title}MaskSize"] = spec.pods.mask(family)
        required[f"require{title}PodCIDR"] = True
    # The chart's own values have IPv4 and no IPv6.
    if "ipv6" in spec.families:
        lab["ipv6"] = {"enabled": True}
    if "ipv4" not in spec.families:
        lab["ipv4"] = {"enabled": False}
    lab |= {"ipam": {"operator": pool}} if chosen["ipam"]["mode"] == "cluster-pool" else {"k8s": required}
    return _sorted(_merged(_merged(_COMMON, lab), chosen))


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> Object:
    """As Helm merges values documents: tables key by key, all else replaced."""
    both = {**first, **second}
    for key in first.keys() & second.keys():
        if isinstance(first[key], dict) and isinstance(second[key], dict):
            both[key] = _merged(first[key], second[key])
    return both


def _sorted(tree: Object) -> Object:
    return {key: _sorted(value) if isinstance(value, dict) else value for key, value in sorted(tree.items())}


def images(defaults: Mapping[str, Any]) -> list[str]:
    """Images of the agent and of the operator, as a chart names them by itself.

    Args:
        defaults: Its values.yaml. The operator of labs is the one that belongs to no cloud.
    """
    agent, operator = defaults["image"], defaults["operator"]["image"]
    return [
        f"{agent['repository']}:{agent['tag']}",
        f"{operator['repository']}-generic{operator.get('suffix') or ''}:{operator['tag']}",
    ]


RELEASE = Release(
    "cilium",
    NAMESPACE,
    "cilium",
    values,
    images,
    # What its operator makes with these values (pkg/k8s/synced/crd.go). It makes one after the other, and looks only
    # after a second whether the API server has it, so that agents would wait for ten seconds.
    kinds=(
        "ciliumcidrgroups", "ciliumclusterwidenetworkpolicies", "ciliumendpoints", "ciliumidentities",
        "ciliuml2announcementpolicies", "ciliumloadbalancerippools", "ciliumnetworkpolicies", "ciliumnodeconfigs",
        "ciliumnodes", "ciliumpodippools",
    ),
    instead=("operator.skipCRDCreation=true",),
)  # fmt: skip


def decisive(chosen: Mapping[str, Any]) -> dict[str, str]:
    """What a variant's values make of the keys of `cilium-config` that tell variants from each other.

    Args:
        chosen: Its own values (templates/cilium-configmap.yaml of the chart says which value becomes which key).
    """
    encryption: Mapping[str, Any] = chosen.get("encryption", {})
    kind = encryption.get("type") if encryption.get("enabled") else None
    return {
        "routing-mode": chosen["routingMode"],
        "tunnel-protocol": chosen.get("tunnelProtocol", "vxlan"),
        "kube-proxy-replacement": chosen["kubeProxyReplacement"],
        "ipam": chosen["ipam"]["mode"],
        "enable-wireguard": str(kind == "wireguard").lower(),
        "enable-ipsec": str(kind == "ipsec").lower(),
        "enable-policy": chosen.get("policyEnforcementMode", "default"),
    }


def manifests(spec: LabSpec, variant: Variant) -> list[Object]:
    """What must be there before the chart: the Secret with the key of all nodes; nothing without IPsec.

    It is as `cilium encrypt create-key` makes it. The key is the lab's own, made of its name: it guards nothing but the
    lab's own packets, and what is rendered twice must be the same twice.
    """
    chosen = variant.values.get("ipsec")
    if not chosen:
        return []
    key = hashlib.blake2b(f"{spec.name}/ipsec".encode(), digest_size=chosen["keyBytes"]).hexdigest()
    line = f"{chosen['spi']} {chosen['algorithm']} {key} {chosen['icvBits']}"
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": chosen["secret"], "namespace": NAMESPACE},
            "type": "Opaque",
            "data": {"keys": base64.b64encode(line.encode()).decode()},
        }
    ]
