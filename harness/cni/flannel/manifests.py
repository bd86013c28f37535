"""flannel as its upstream manifest has it (Documentation/kube-flannel.yml), rendered from a variant's data.

Three things differ, and all are about time. The readiness probe asks every second, from the start. flanneld goes to
the API server by its address: by its Service it ends whenever it starts before kube-proxy's rules are there, and a
container that ended waits to be started again. And the CNI configuration is installed by a postStart hook that waits
for flanneld's subnet file, not by an init container: with the configuration on disk a node counts as ready, and pods
that start before the subnet file is there fail once and are tried again some twelve seconds later ("open
/run/flannel/subnet.env: no such file or directory").
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from harness.cni import apiserver
from harness.cni.footprint import LEASES, PLUGIN_CHAINS, Footprint
from harness.errors import BringUpError
from harness.model import rbac
from harness.model.spec import LabSpec
from harness.model.variant import Variant

Object = dict[str, Any]

NAMESPACE = "kube-flannel"
NAME = "kube-flannel-ds"
CONFIG_MAP = "kube-flannel-cfg"
IMAGE = "ghcr.io/flannel-io/flannel:v0.28.10"
PLUGIN_IMAGE = "cnilab.dev/flannel-cni-plugin:v0.9.1"
"""Not flannel's own image, which is of a repository that Go's proxy does not serve: see components.lock."""

FOOTPRINT = Footprint(
    links=("cni0", "flannel.*", "flannel-v6.*"),
    chains=("FLANNEL-*", *PLUGIN_CHAINS),
    files=("/etc/cni/net.d/10-flannel.conflist", "/opt/cni/bin/flannel", "/run/flannel", LEASES),
    plugins=("flannel",),
    annotations=("flannel.alpha.coreos.com/",),
)

_INSTALL_WHEN_READY = """\
until [ -s /run/flannel/subnet.env ]; do sleep 0.1; done
exec /opt/bin/install-conf /etc/kube-flannel/cni-conf.json /etc/cni/net.d/10-flannel.conflist
"""


def manifests(spec: LabSpec, variant: Variant) -> list[Object]:
    """Render all objects of flannel.

    Args:
        spec: Gives the pod network and the NIC of the cluster.
        variant: Gives the backend.
    """
    return [_namespace(), *_rbac(), _config(spec, variant), _daemonset(spec)]


MANIFEST = "kube-flannel.yml"
"""Of its module, in `Documentation`: how its project installs a version."""


def adapted(objects: Iterable[Object], spec: LabSpec, variant: Variant) -> list[Object]:
    """The project's own manifest of a version that is not pinned, with a lab's network and nothing else changed.

    The backend and the network are told; and the CNI configuration, which is the same but for its version: that of the
    variant is what every plugin speaks. flanneld is told the NIC of the cluster, and goes to the API server by its
    address.

    Args:
        objects: As the manifest has them.
        spec: Gives the pod network and the NIC of the cluster.
        variant: Gives the backend.

    Raises:
        BringUpError: It has not the objects that are to be told this.
    """
    made = deepcopy(list(objects))
    config = _only(made, "ConfigMap", CONFIG_MAP)
    config["data"] |= _config(spec, variant)["data"]
    pod = _only(made, "DaemonSet", NAME)["spec"]["template"]["spec"]
    daemon = next((one for one in pod["containers"] if one["name"] == "kube-flannel"), None)
    if daemon is None:
        cause = f"the DaemonSet {NAME} has no container kube-flannel"
        raise _foreign(cause)
    daemon["args"] = [*daemon.get("args", ()), f"--iface={spec.cluster_nic}"]
    daemon["env"] = [*daemon.get("env", ()), *apiserver.environment(spec)]
    return made


def _only(objects: list[Object], kind: str, name: str) -> Object:
    for one in objects:
        if one["kind"] == kind and one["metadata"]["name"] == name:
            return one
    cause = f"it has no {kind} {name}"
    raise _foreign(cause)


def _foreign(cause: str) -> BringUpError:
    msg = f"{MANIFEST} of this version of flannel is not in the form that this program knows"
    return BringUpError(msg, cause=cause, where="spec.cniVersion", next_step="choose a version nearer the pinned one")


def _labels() -> dict[str, str]:
    return {"k8s-app": "flannel"}


def _namespace() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": NAMESPACE,
            "labels": {**_labels(), "pod-security.kubernetes.io/enforce": "privileged"},
        },
    }


def _rbac() -> list[Object]:
    rules = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"]},
    ]
    account, *access = rbac.cluster_access("flannel", NAMESPACE, rules, labels=_labels())
    account["metadata"]["labels"] = _labels()
    return [account, *access]


def cni_conf(variant: Variant) -> Object:
    """The CNI configuration list that every node gets."""
    return {
        "name": "cbr0",
        "cniVersion": variant.expect.conf_version,
        "plugins": [
            {"type": "flannel", "delegate": {"hairpinMode": True, "isDefaultGateway": True}},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _networks(spec: LabSpec) -> Object:
    """The pod network of each family; flannel has IPv4 unless it is told not to (Documentation/configuration.md)."""
    found: Object = {}
    if "ipv4" in spec.families:
        found["Network"] = str(spec.pods.cidr)
    else:
        found["EnableIPv4"] = False
    if "ipv6" in spec.families:
        found |= {"EnableIPv6": True, "IPv6Network": str(spec.pods.cidr6)}
    return found


def _config(spec: LabSpec, variant: Variant) -> Object:
    net_conf = {**_networks(spec), "EnableNFTables": False, "Backend": variant.values["backend"]}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": CONFIG_MAP,
            "namespace": NAMESPACE,
            "labels": {"tier": "node", "app": "flannel", **_labels()},
        },
        "data": {
            "cni-conf.json": json.dumps(cni_conf(variant), indent=2) + "\n",
            "net-conf.json": json.dumps(net_conf, indent=2) + "\n",
        },
    }


def _daemonset(spec: LabSpec) -> Object:
    labels = {"tier": "node", "app": "flannel"}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": {**labels, **_labels()}},
        "spec": {
            "selector": {"matchLabels": {"app": "flannel"}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "hostNetwork": True,
                    "priorityClassName": "system-node-critical",
                    "serviceAccountName": "flannel",
                    "terminationGracePeriodSeconds": 2,
                    "tolerations": [{"operator": "Exists", "effect": "NoSchedule"}],
                    "initContainers": [_install_plugin()],
                    "containers": [_flanneld(spec)],
                    "volumes": _volumes(),
                },
            },
        },
    }


def _install_plugin() -> Object:
    return {
        "name": "install-cni-plugin",
        "image": PLUGIN_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["cp"],
        "args": ["-f", "/flannel", "/opt/cni/bin/flannel"],
        "volumeMounts": [{"name": "cni-plugin", "mountPath": "/opt/cni/bin"}],
    }


def _flanneld(spec: LabSpec) -> Object:
    return {
        "name": "kube-flannel",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/opt/bin/flanneld"],
        "args": ["--ip-masq", "--kube-subnet-mgr", f"--iface={spec.cluster_nic}", "--healthz-port=8081"],
        "lifecycle": {"postStart": {"exec": {"command": ["/bin/sh", "-ec", _INSTALL_WHEN_READY]}}},
        "ports": [{"name": "healthz", "containerPort": 8081, "protocol": "TCP"}],
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": "healthz"},
            "initialDelaySeconds": 10,
            "periodSeconds": 30,
        },
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "healthz"}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "100m", "memory": "50Mi"}},
        "securityContext": {"privileged": False, "capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}},
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "EVENT_QUEUE_DEPTH", "value": "5000"},
            {"name": "CONT_WHEN_CACHE_NOT_READY", "value": "false"},
            *apiserver.environment(spec),
        ],
        "volumeMounts": [
            {"name": "run", "mountPath": "/run/flannel"},
            {"name": "cni", "mountPath": "/etc/cni/net.d"},
            {"name": "flannel-cfg", "mountPath": "/etc/kube-flannel/"},
            {"name": "xtables-lock", "mountPath": "/run/xtables.lock"},
        ],
    }


def _volumes() -> list[Object]:
    return [
        {"name": "run", "hostPath": {"path": "/run/flannel", "type": "DirectoryOrCreate"}},
        {"name": "cni-plugin", "hostPath": {"path": "/opt/cni/bin"}},
        {"name": "cni", "hostPath": {"path": "/etc/cni/net.d", "type": "DirectoryOrCreate"}},
        {"name": "flannel-cfg", "configMap": {"name": CONFIG_MAP}},
        {"name": "xtables-lock", "hostPath": {"path": "/run/xtables.lock", "type": "FileOrCreate"}},
    ]
