"""kind's configuration of a cluster, rendered from a lab's spec. Pure.

kind turns it into kubeadm's configuration, and takes patches to that as texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import yamlio
from harness.model.spec import LabSpec
from harness.model.wellknown import CONTROLLER_REQUESTS

Object = dict[str, Any]


def cluster(spec: LabSpec, image: str, *, coredns: str, kubelet: Mapping[str, Any], kube_proxy: bool = True) -> str:
    """The file for `kind create cluster --config`.

    Args:
        spec: The lab.
        image: Node image, full name.
        coredns: Full name of the image of the cluster's DNS, which is on the nodes already.
        kubelet: Settings of kubelet beside kind's.
        kube_proxy: Nodes run kube-proxy; not where the pod network does its work.
    """
    nodes = [{"role": "control-plane" if number == 0 else "worker", "image": image} for number in range(spec.nodes)]
    return yamlio.dumps(
        {
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "name": spec.name,
            "networking": {
                "apiServerAddress": "127.0.0.1",
                "disableDefaultCNI": True,
                "ipFamily": spec.ip_family,
                "kubeProxyMode": spec.kubernetes.proxy_mode if kube_proxy else "none",
                "podSubnet": ",".join(map(str, spec.pod_cidrs)),
                "serviceSubnet": ",".join(map(str, spec.service_cidrs)),
            },
            "kubeadmConfigPatches": [yamlio.dumps(patch) for patch in patches(spec, coredns, kubelet)],
            "nodes": nodes,
        }
    )


def controller_manager_arguments(spec: LabSpec) -> dict[str, str]:
    """What kube-controller-manager gets beside kubeadm's arguments."""
    if len(spec.families) == 1:
        masks = {"node-cidr-mask-size": str(spec.pods.mask(spec.primary))}
    else:
        masks = {f"node-cidr-mask-size-{family}": str(spec.pods.mask(family)) for family in spec.families}
    return {**masks, **CONTROLLER_REQUESTS}


def patches(spec: LabSpec, coredns: str, kubelet: Mapping[str, Any]) -> list[Object]:
    """Patches to kubeadm's configuration, each for the document of its kind."""
    repository, _, tag = coredns.rpartition(":")
    found: list[Object] = [
        {
            "kind": "ClusterConfiguration",
            "networking": {"dnsDomain": spec.services.domain},
            "dns": {"imageRepository": repository.rpartition("/")[0], "imageTag": tag},
            "controllerManager": {"extraArgs": controller_manager_arguments(spec)},
        },
        {"kind": "KubeletConfiguration", "serializeImagePulls": False, **kubelet},
    ]
    if spec.nodes > 1:
        # Pods of labs run on every node, as they do with every other provider. kind itself takes the taint from a
        # cluster of one node, and fails when there is none.
        found.append({"kind": "InitConfiguration", "nodeRegistration": {"taints": []}})
    return found
