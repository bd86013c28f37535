"""What several parts of a lab must agree on, though none of them knows the others."""

from __future__ import annotations

from typing import Final

API_PORT: Final = 6443
"""Where kube-apiserver listens on its node: kubeadm's default."""

CONTAINERD_SOCKET: Final = "/run/containerd/containerd.sock"
"""Where containerd listens on its node: its default."""

CRICTL_CONFIG: Final = f"runtime-endpoint: unix://{CONTAINERD_SOCKET}\n"
"""Of crictl, in its file /etc/crictl.yaml. Without it crictl tries the sockets of three runtimes, and complains."""

CONTROLLER_REQUESTS: Final = {"kube-api-qps": "500", "kube-api-burst": "1000"}
"""Flags of kube-controller-manager. Its default of 20 requests a second makes forty controllers wait 5 s for their
service accounts."""

CILIUM_CGROUPS: Final = "/run/cilium/cgroupv2"
"""Where cilium's agent wants the cgroup v2 file system on a node (its option `--cgroup-root`)."""

SUPPORT: Final = "up.support"
"""Note of a run whose version of Kubernetes nobody mends any more."""

EMULATED: Final = "CNILAB_EMULATED"
"""Variable of the environment that is set where the processor is software, by whoever made it so."""

INSIDE: Final = "CNILAB_INSIDE"
"""The same in a lab's virtual machine: the lab is made here and nowhere deeper."""

SUITE_NAMESPACE: Final = "cnilab-probe"
"""Of the suite's pods in a cluster of ours."""

POLICY_NAMESPACES: Final = "cnilab-np-"
"""How names of the namespaces begin in which the suite tries policies."""
