"""weave as its upstream manifest has it (prog/weave-kube/weave-daemonset-k8s-1.11.yaml), rendered from variant data.

Three things differ. Images are named by version instead of `latest`, and pulled only when a node lacks them. The range,
the MTU and the number of peers are told, not guessed: the spec knows them. And the readiness probe asks every second.

The images are those of the fork that goes on (github.com/rajch/weave) after weaveworks ended.
"""

from __future__ import annotations

from typing import Any

from harness.cni.footprint import LEASES, PLUGIN_CHAINS, Footprint
from harness.model import rbac
from harness.model.spec import LabSpec
from harness.model.variant import Variant

Object = dict[str, Any]

NAMESPACE = "kube-system"
NAME = "weave-net"
CONTROL_PORT = 6783
DATA_PORT = 6784
"""Of VXLAN; on TCP and the loopback the router's own API, which the CNI plugin asks for addresses."""

FOOTPRINT = Footprint(
    links=("weave", "datapath", "vethwe*", "vxlan-*"),
    chains=("WEAVE*", *PLUGIN_CHAINS),
    sets=("weave-*", "weaver-*"),
    files=("/etc/cni/net.d/10-weave.conflist", "/opt/cni/bin/weave-*", "/var/lib/weave", LEASES),
)


def manifests(spec: LabSpec, variant: Variant) -> list[Object]:
    """Render all objects of weave.

    Args:
        spec: Gives the range, the nodes and the MTU of the wire.
        variant: Gives the images, and what the encapsulation takes.
    """
    return [*_rbac(), _daemonset(spec, variant)]


def _labels() -> dict[str, str]:
    return {"name": NAME}


def _rbac() -> list[Object]:
    read = ["get", "list", "watch"]
    cluster = [
        {"apiGroups": [""], "resources": ["pods", "namespaces", "nodes"], "verbs": read},
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": read},
        {"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch", "update"]},
    ]
    # The list of peers that have left and whose addresses others may take.
    own = [
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [NAME], "verbs": ["get", "update"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]},
    ]
    account, *access = rbac.cluster_access(NAME, NAMESPACE, cluster, labels=_labels())
    account["metadata"]["labels"] = _labels()
    return [account, *access, *rbac.namespace_access(NAME, NAMESPACE, own, role=NAME, labels=_labels())]


def _daemonset(spec: LabSpec, variant: Variant) -> Object:
    kube, npc = (_versioned(variant.values[name], spec) for name in ("kube", "npc"))
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": _labels()},
        "spec": {
            "minReadySeconds": 5,
            "selector": {"matchLabels": _labels()},
            "template": {
                "metadata": {"labels": _labels()},
                "spec": {
                    "hostNetwork": True,
                    "dnsPolicy": "ClusterFirstWithHostNet",
                    "priorityClassName": "system-node-critical",
                    "serviceAccountName": NAME,
                    "tolerations": [{"operator": "Exists", "effect": effect} for effect in ("NoSchedule", "NoExecute")],
                    "initContainers": [_init(kube)],
                    "containers": [_router(spec, variant, kube), _policy_controller(npc)],
                    "volumes": _volumes(),
                },
            },
            "updateStrategy": {"type": "RollingUpdate"},
        },
    }


def _versioned(image: str, spec: LabSpec) -> str:
    """An image of the version that the spec asks for."""
    return f"{image.rpartition(':')[0]}:{spec.cni_version}" if spec.cni_version else image


def _init(image: str) -> Object:
    mounts = {"cni-bin": "/host/opt", "cni-bin2": "/host/home", "cni-conf": "/host/etc"}
    mounts |= {"lib-modules": "/lib/modules", "xtables-lock": "/run/xtables.lock"}
    return _container("weave-init", image, mounts, command=["/home/weave/init.sh"])


def _router(spec: LabSpec, variant: Variant, image: str) -> Object:
    told = {
        "INIT_CONTAINER": "true",
        "IPALLOC_RANGE": str(spec.pods.cidr),
        "WEAVE_MTU": str(variant.expect.pod_mtu(spec.underlay.mtu)),
        "KUBE_PEERS": " ".join(str(spec.node_address(name)) for name in spec.node_names),
    }
    mounts = {"weavedb": "/weavedb", "dbus": "/host/var/lib/dbus", "cni-machine-id": "/host/etc/machine-id"}
    mounts |= {"xtables-lock": "/run/xtables.lock"}
    probe = {"httpGet": {"host": "127.0.0.1", "path": "/status", "port": DATA_PORT}, "periodSeconds": 1}
    extra = {"readinessProbe": probe, "resources": {"requests": {"cpu": "50m"}}}
    return {**_container("weave", image, mounts, told, command=["/home/weave/launch.sh"]), **extra}


def _policy_controller(image: str) -> Object:
    mounts = {"xtables-lock": "/run/xtables.lock"}
    return {**_container("weave-npc", image, mounts, {}), "resources": {"requests": {"cpu": "50m"}}}


def _container(
    name: str, image: str, mounts: dict[str, str], env: dict[str, str] | None = None, command: list[str] | None = None
) -> Object:
    host = {"name": "HOSTNAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}}
    variables = [] if env is None else [*({"name": key, "value": value} for key, value in env.items()), host]
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        **({"command": command} if command else {}),
        **({"env": variables} if variables else {}),
        "securityContext": {"privileged": True},
        "volumeMounts": [{"name": volume, "mountPath": path} for volume, path in mounts.items()],
    }


def _volumes() -> list[Object]:
    folders = {
        "weavedb": "/var/lib/weave",
        "cni-bin": "/opt",
        "cni-bin2": "/home",
        "cni-conf": "/etc",
        "cni-machine-id": "/etc/machine-id",
        "dbus": "/var/lib/dbus",
        "lib-modules": "/lib/modules",
    }
    lock = {"name": "xtables-lock", "hostPath": {"path": "/run/xtables.lock", "type": "FileOrCreate"}}
    return [*({"name": name, "hostPath": {"path": path}} for name, path in folders.items()), lock]
