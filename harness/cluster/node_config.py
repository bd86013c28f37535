"""Configuration files of what every node runs: kubelet and containerd. Pure.

Both changed with time: kubelet knows more settings from version to version, and containerd's file has another form
since 2.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness import yamlio
from harness.model.spec import LabSpec
from harness.model.wellknown import CONTAINERD_SOCKET

PKI = "/etc/kubernetes/pki"
PAUSE_IMAGE = "cnilab.dev/pause:1"
_CGROUP_V1_MINOR = 31
_CRASH_LOOP_MINOR = 32

_CONTAINERD_1 = """\
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
  address = "{socket}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  disable_apparmor = true
  restrict_oom_score_adj = {restrict}

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
"""

CONTAINER_SPEC = "/etc/containerd/cri-base.json"

_CONTAINERS = """
  [plugins."{plugin}".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    base_runtime_spec = "{path}"
"""

_CONTAINERD_2 = """\
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
  address = "{socket}"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"

  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{pause}"

[plugins."io.containerd.cri.v1.runtime"]
  disable_apparmor = true
  restrict_oom_score_adj = {restrict}

  [plugins."io.containerd.cri.v1.runtime".cni]
    conf_dir = "/etc/cni/net.d"
"""


@dataclass(frozen=True)
class MachineFacts:
    """What a provider knows of the machine that its nodes run on.

    Args:
        can_lower_oom_score: CAP_SYS_RESOURCE is there. Without it runc cannot set a container's oom_score_adj below
            its own and dies with "can't get final child's PID from pipe: EOF".
        cgroup_v1: Its control groups are those of version 1, or a mixture.
        containerd: Version of the nodes' containerd; its configuration changed with 2.0.
        container_spec: What containers start from (OCI runtime specification), where that is not containerd's own.
        emulated: Its processor is software. Then nothing starts beside the API server, whose start-up has deadlines of
            its own (30 s for the first roles, registry/rbac/rest/storage_rbac.go) and ends when it misses one.
    """

    can_lower_oom_score: bool = True
    cgroup_v1: bool = False
    containerd: str = "2"
    container_spec: str = ""
    emulated: bool = False


def kubelet_config(spec: LabSpec, facts: MachineFacts) -> str:
    """KubeletConfiguration (kubelet.config.k8s.io/v1beta1).

    Args:
        spec: The lab.
        facts: What the machine allows.
    """
    return yamlio.dumps(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": f"{PKI}/ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": f"{PKI}/kubelet.crt",
            "tlsPrivateKeyFile": f"{PKI}/kubelet.key",
            "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
            "cgroupDriver": "cgroupfs",
            **(allow_cgroup_v1(spec) if facts.cgroup_v1 else {}),
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            "clusterDNS": [str(spec.services.dns_address(spec.primary))],
            "clusterDomain": spec.services.domain,
            "resolvConf": "/etc/resolv.conf",
            # A nearly full disk of the machine is no reason to evict a lab's pods.
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "syncFrequency": "5s",
            "nodeStatusUpdateFrequency": "5s",
            "serializeImagePulls": False,
            # Watching each begins anew after a second where a pod is seen here before the Node authorizer has seen it.
            "configMapAndSecretChangeDetectionStrategy": "Get",
            "maxPods": 110,
            **crash_loop_back_off(spec),
        }
    )


def _minor(spec: LabSpec) -> int:
    return int(spec.kubernetes.version.split(".")[1])


def allow_cgroup_v1(spec: LabSpec) -> dict[str, Any]:
    """Have kubelet start on a machine with cgroup v1, which it refuses by itself from 1.35 on.

    An option since 1.31 (KEP-4569); older ones have nothing against cgroup v1.
    """
    return {"failCgroupV1": False} if _minor(spec) >= _CGROUP_V1_MINOR else {}


def crash_loop_back_off(spec: LabSpec) -> dict[str, Any]:
    """Containers that labs and faults kill again and again come back after a second, not after 10, 20, … 300 s.

    An option of kubelet since 1.32 (KEP-4603, tune CrashLoopBackOff); older ones refuse a gate that they do not know.
    """
    if _minor(spec) < _CRASH_LOOP_MINOR:
        return {}
    return {
        "featureGates": {"KubeletCrashLoopBackOffMax": True},
        "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
    }


def containerd_config(facts: MachineFacts) -> str:
    """Configuration of containerd: version 2 of the format for 1.x, version 3 for 2.x."""
    restrict = "false" if facts.can_lower_oom_score else "true"
    old = facts.containerd.startswith("1.")
    form = _CONTAINERD_1 if old else _CONTAINERD_2
    text = form.format(socket=CONTAINERD_SOCKET, pause=PAUSE_IMAGE, restrict=restrict)
    if facts.container_spec:
        plugin = "io.containerd.grpc.v1.cri" if old else "io.containerd.cri.v1.runtime"
        text += _CONTAINERS.format(plugin=plugin, path=CONTAINER_SPEC)
    return text
