"""cilium as its chart of 1.15 has it (install/kubernetes/cilium), rendered from a variant's data. Pure.

The names, labels, capabilities, ports and volumes are the chart's. What differs:

- The agent reads its ConfigMap from a volume. The chart's init container, which also merges CiliumNodeConfig objects,
  would cost a start of its own on every node.
- The BPF file system and cgroup v2 are mounted by the node, as systemd does on a real one, and not by init containers.
- The probes ask every second from the start, for a lab's sake.
- There is no Envoy: layer 7 policies and ingress are off.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from harness import yamlio
from harness.cni import apiserver
from harness.cni.footprint import LEASES, Footprint
from harness.model import rbac
from harness.model.spec import LabSpec
from harness.model.variant import Variant
from harness.model.wellknown import CILIUM_CGROUPS

Object = dict[str, Any]

NAMESPACE = "kube-system"
NAME = "cilium"
OPERATOR = "cilium-operator"
CONFIG = "cilium-config"
IMAGE = "quay.io/cilium/cilium:v1.15.19"
OPERATOR_IMAGE = "quay.io/cilium/operator-generic:v1.15.19"
HUBBLE_SOCKET = "/var/run/cilium/hubble.sock"
CGROUP_ROOT = CILIUM_CGROUPS
"""Where the chart mounts cgroup v2; here the node does it."""

MAPS = {
    "Services": "cilium_lb4_services_v2",
    "backends": "cilium_lb4_backends_v3",
    "TCP connections": "cilium_ct4_global",
    "other connections": "cilium_ct_any4_global",
    "translations": "cilium_snat_v4_external",
    "addresses and identities": "cilium_ipcache",
    "endpoints of the node": "cilium_lxc",
}
"""Pinned maps by what they hold."""
MAPS_DIR = "/sys/fs/bpf/tc/globals"
COUNTERS = "cilium_metrics"
REASONS = {
    0: "forwarded",
    3: "seen on an interface",
    4: "seen on an interface, decrypted",
    133: "denied by policy",
    139: "dropped, unsupported L3 protocol",
    181: "denied by a deny rule",
}
"""Of the counters (pkg/monitor/api/drop.go); a drop's reason is its error without the sign."""

FOOTPRINT = Footprint(
    links=("cilium_*", "lxc*"),
    chains=("CILIUM_*", "OLD_CILIUM_*"),
    sets=("cilium_*",),
    tables=("2004", "2005"),  # to and from its proxies (bpf/lib/common.h, LINUX_RT_TABLE…)
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

_AGENT_HEALTH = 9879
_OPERATOR_HEALTH = 9234
_CONFIG_DIR = "/tmp/cilium/config-map"  # noqa: S108 - a mount point in the container, the chart's
_LABELS = {"k8s-app": "cilium", "app.kubernetes.io/name": "cilium-agent", "app.kubernetes.io/part-of": "cilium"}
_OPERATOR_LABELS = {
    "io.cilium/app": "operator",
    "name": OPERATOR,
    "app.kubernetes.io/name": OPERATOR,
    "app.kubernetes.io/part-of": "cilium",
}
# The chart's list, but for one: SYS_RESOURCE is for RLIMIT_MEMLOCK, which BPF does without since Linux 5.11, and not
# every machine that runs a lab has it to give. BPF and PERFMON are what bpftool asks for from version 7 on.
_CAPABILITIES = (
    "CHOWN", "KILL", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "SYS_MODULE", "SYS_ADMIN", "BPF", "PERFMON", "DAC_OVERRIDE",
    "FOWNER", "SETGID", "SETUID",
)  # fmt: skip


def manifests(spec: LabSpec, variant: Variant) -> list[Object]:
    """Render all objects of cilium; its operator makes the CustomResourceDefinitions.

    Args:
        spec: Gives addresses and the NIC of the cluster.
        variant: Gives what `cilium-config` says beyond the common part.
    """
    return [
        *_rbac(),
        config_map(spec, variant),
        *_ipsec_keys(spec, variant),
        _operator(spec),
        _daemonset(spec, variant),
    ]


def configuration(spec: LabSpec, variant: Variant) -> dict[str, str]:
    """The content of `cilium-config`: the chart's defaults, then the lab's addresses, then the variant's choices."""
    chosen: dict[str, str] = variant.values["config"]
    lab = {"devices": spec.cluster_nic, "direct-routing-device": spec.cluster_nic}
    if chosen["routing-mode"] == "native":
        lab["ipv4-native-routing-cidr"] = str(spec.pods.cidr)
    if chosen["ipam"] == "cluster-pool":
        lab["cluster-pool-ipv4-cidr"] = str(spec.pods.cidr)
        lab["cluster-pool-ipv4-mask-size"] = str(spec.pods.node_mask)
    else:
        lab["k8s-require-ipv4-pod-cidr"] = "true"
    return {**_COMMON, **lab, **chosen}


_COMMON = {
    "agent-health-port": str(_AGENT_HEALTH),
    "bpf-root": "/sys/fs/bpf",
    "cgroup-root": CGROUP_ROOT,
    "cluster-id": "0",
    "cluster-name": "default",
    "cni-exclusive": "true",
    "cni-log-file": "/var/run/cilium/cilium-cni.log",
    "custom-cni-conf": "false",
    "debug": "false",
    "enable-ipv4": "true",
    "enable-ipv6": "false",
    "enable-k8s-networkpolicy": "true",
    "enable-policy": "default",
    "identity-allocation-mode": "crd",
    "monitor-aggregation": "medium",
    "monitor-aggregation-flags": "all",
    "monitor-aggregation-interval": "5s",
    "operator-api-serve-addr": f"127.0.0.1:{_OPERATOR_HEALTH}",
    "operator-prometheus-serve-addr": ":9963",
    "enable-metrics": "true",  # of the operator: without it the address above means nothing
    "procfs": "/host/proc",
    "prometheus-serve-addr": ":9962",
    "synchronize-k8s-nodes": "true",
    "write-cni-conf-when-ready": "/host/etc/cni/net.d/05-cilium.conflist",
    # No Envoy in the image.
    "enable-l7-proxy": "false",
    # They are a program of their own in a namespace of its own on every node; a lab probes from its own pods.
    "enable-endpoint-health-checking": "false",
    "enable-health-checking": "false",
    # Tables of connections are LRU hashes, which are allocated whole. The chart gives them a share of the machine's
    # memory, and a lab has many nodes on one machine.
    "bpf-ct-global-any-max": "16384",
    "bpf-ct-global-tcp-max": "32768",
    "bpf-nat-global-max": "32768",
    "bpf-neigh-global-max": "32768",
    # Unasked, client-go makes do with 5 requests in a second, and the chart's 10 are not many more: the operator takes
    # 4 s for its definitions then, which all agents wait for.
    "k8s-client-burst": "200",
    "k8s-client-qps": "100",
}


def config_map(spec: LabSpec, variant: Variant) -> Object:
    """The ConfigMap `cilium-config`."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CONFIG, "namespace": NAMESPACE},
        "data": dict(sorted(configuration(spec, variant).items())),
    }


def _ipsec_keys(spec: LabSpec, variant: Variant) -> list[Object]:
    """The Secret with the key of all nodes, as `cilium encrypt create-key` makes it; none without IPsec.

    The key is the lab's own, made of its name: it guards nothing but the lab's own packets, and what is rendered twice
    must be the same twice.
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


@cache
def _rules() -> dict[str, list[Object]]:
    text = (Path(__file__).parent / "data" / "cilium-rbac.yaml").read_text(encoding="utf-8")
    rules: dict[str, list[Object]] = yamlio.loads(text)
    return rules


def _rbac() -> list[Object]:
    part_of = {"app.kubernetes.io/part-of": "cilium"}
    read_config = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}
    accounts = [rbac.cluster_access(name, NAMESPACE, rules, labels=part_of) for name, rules in _rules().items()]
    config = rbac.namespace_access(NAME, NAMESPACE, [read_config], role="cilium-config-agent", labels=part_of)
    return [item for objects in (*accounts, config) for item in objects]


def _environment(spec: LabSpec) -> list[Object]:
    """Who the pod is, and the API server by its own address: nobody else makes the Service's work."""
    return [
        {"name": "K8S_NODE_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}},
        {
            "name": "CILIUM_K8S_NAMESPACE",
            "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
        },
        *apiserver.environment(spec),
    ]


def _health(port: int, **timing: int) -> Object:
    request = {"host": "127.0.0.1", "path": "/healthz", "port": port, "scheme": "HTTP"}
    return {
        "httpGet": {**request, "httpHeaders": [{"name": "brief", "value": "true"}]},
        "timeoutSeconds": 5,
        **timing,
    }


def _operator(spec: LabSpec) -> Object:
    container = {
        "name": OPERATOR,
        "image": OPERATOR_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["cilium-operator-generic"],
        "args": [f"--config-dir={_CONFIG_DIR}", "--debug=false"],
        "env": _environment(spec),
        "ports": [_port("prometheus", 9963)],
        "livenessProbe": _health(_OPERATOR_HEALTH, initialDelaySeconds=60, periodSeconds=10),
        "readinessProbe": _health(_OPERATOR_HEALTH, periodSeconds=1),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [_mount("cilium-config-path", _CONFIG_DIR, readOnly=True)],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": OPERATOR, "namespace": NAMESPACE, "labels": _OPERATOR_LABELS},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"io.cilium/app": "operator", "name": OPERATOR}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "100%"}},
            "template": {
                "metadata": {"labels": _OPERATOR_LABELS},
                "spec": {
                    "hostNetwork": True,
                    "restartPolicy": "Always",
                    "priorityClassName": "system-cluster-critical",
                    "serviceAccountName": OPERATOR,
                    "terminationGracePeriodSeconds": 1,
                    "tolerations": [{"operator": "Exists"}],
                    "containers": [container],
                    "volumes": [_config_volume()],
                },
            },
        },
    }


def _daemonset(spec: LabSpec, variant: Variant) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": _LABELS},
        "spec": {
            "selector": {"matchLabels": {"k8s-app": "cilium"}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}},
            "template": {
                "metadata": {"labels": _LABELS},
                "spec": {
                    "hostNetwork": True,
                    "restartPolicy": "Always",
                    "priorityClassName": "system-node-critical",
                    "serviceAccountName": NAME,
                    "terminationGracePeriodSeconds": 1,
                    "tolerations": [{"operator": "Exists"}],
                    "initContainers": [_install_plugin()],
                    "containers": [_agent(spec, variant)],
                    "volumes": _volumes(variant),
                },
            },
        },
    }


def _install_plugin() -> Object:
    # Copied beside and renamed: a runtime never starts half of it.
    script = (
        "cp /opt/cni/bin/cilium-cni /host/opt/cni/bin/.cilium-cni.new"
        " && mv /host/opt/cni/bin/.cilium-cni.new /host/opt/cni/bin/cilium-cni"
    )
    return {
        "name": "install-cni-binaries",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-ec", script],
        "securityContext": {"capabilities": {"drop": ["ALL"], "add": ["DAC_OVERRIDE"]}},
        "volumeMounts": [_mount("cni-path", "/host/opt/cni/bin")],
    }


def _agent(spec: LabSpec, variant: Variant) -> Object:
    return {
        "name": "cilium-agent",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["cilium-agent"],
        "args": [f"--config-dir={_CONFIG_DIR}"],
        "startupProbe": _health(_AGENT_HEALTH, failureThreshold=120, periodSeconds=1),
        "livenessProbe": _health(_AGENT_HEALTH, failureThreshold=10, periodSeconds=30),
        "readinessProbe": _health(_AGENT_HEALTH, failureThreshold=3, periodSeconds=2),
        "env": [*_environment(spec), {"name": "HUBBLE_SERVER", "value": f"unix://{HUBBLE_SOCKET}"}],
        "ports": [_port("peer-service", 4244), _port("prometheus", 9962), _port("hubble-metrics", 9965)],
        "securityContext": {"capabilities": {"add": list(_CAPABILITIES), "drop": ["ALL"]}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            _mount("host-proc-sys-net", "/host/proc/sys/net"),
            _mount("host-proc-sys-kernel", "/host/proc/sys/kernel"),
            _mount("bpf-maps", "/sys/fs/bpf", mountPropagation="HostToContainer"),
            _mount("cilium-cgroup", CGROUP_ROOT),
            _mount("cilium-run", "/var/run/cilium"),
            _mount("etc-cni-netd", "/host/etc/cni/net.d"),
            _mount("lib-modules", "/lib/modules", readOnly=True),
            _mount("xtables-lock", "/run/xtables.lock"),
            _mount("cilium-config-path", _CONFIG_DIR, readOnly=True),
            *([_mount("cilium-ipsec-secrets", "/etc/ipsec")] if "ipsec" in variant.values else ()),
        ],
    }


def _port(name: str, number: int) -> Object:
    return {"name": name, "containerPort": number, "hostPort": number, "protocol": "TCP"}


def _mount(name: str, path: str, **more: Any) -> Object:
    return {"name": name, "mountPath": path, **more}


def _config_volume() -> Object:
    return {"name": "cilium-config-path", "configMap": {"name": CONFIG}}


def _volumes(variant: Variant) -> list[Object]:
    paths = {
        "cilium-run": ("/var/run/cilium", "DirectoryOrCreate"),
        "bpf-maps": ("/sys/fs/bpf", "DirectoryOrCreate"),
        "cilium-cgroup": (CGROUP_ROOT, "DirectoryOrCreate"),
        "cni-path": ("/opt/cni/bin", "DirectoryOrCreate"),
        "etc-cni-netd": ("/etc/cni/net.d", "DirectoryOrCreate"),
        "lib-modules": ("/lib/modules", "DirectoryOrCreate"),
        "xtables-lock": ("/run/xtables.lock", "FileOrCreate"),
        "host-proc-sys-net": ("/proc/sys/net", "Directory"),
        "host-proc-sys-kernel": ("/proc/sys/kernel", "Directory"),
    }
    volumes: list[Object] = [
        {"name": name, "hostPath": {"path": path, "type": kind}} for name, (path, kind) in paths.items()
    ]
    if keys := variant.values.get("ipsec"):
        volumes.append({"name": "cilium-ipsec-secrets", "secret": {"secretName": keys["secret"]}})
    return [*volumes, _config_volume()]
