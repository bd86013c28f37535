"""CoreDNS as kubeadm deploys it: the `coredns` Deployment behind the `kube-dns` Service."""

from __future__ import annotations

from typing import Any

from harness.model import rbac
from harness.model.family import TITLE
from harness.model.spec import LabSpec

Object = dict[str, Any]

NAMESPACE = "kube-system"
IMAGE = "registry.k8s.io/coredns/coredns:v1.15.0"
_LABELS = {"k8s-app": "kube-dns"}


def corefile(spec: LabSpec) -> str:
    """The Corefile: cluster zone and reverse zones, everything else to the router's name server.

    A pod takes over its node's name server when it starts. With kind that may be before all nodes have joined, and
    until then they have the engine's; so the Corefile names the router itself. On Vagrant nodes keep that of the NAT.
    """
    upstream = spec.router_address if spec.provider in {"kind", "vagrant"} else "/etc/resolv.conf"
    return f""".:53 {{
    errors
    health {{
       lameduck 1s
    }}
    ready
    kubernetes {spec.services.domain} in-addr.arpa ip6.arpa {{
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }}
    prometheus :9153
    forward . {upstream} {{
       max_concurrent 1000
    }}
    cache 30
    loop
    reload
    loadbalance
}}
"""


def manifests(spec: LabSpec) -> list[Object]:
    """Render all objects of the cluster's DNS."""
    return [*_rbac(), _config(spec), _service(spec), _deployment()]


def _rbac() -> list[Object]:
    rules = [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    return rbac.cluster_access("coredns", NAMESPACE, rules, role="system:coredns")


def _config(spec: LabSpec) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "coredns", "namespace": NAMESPACE},
        "data": {"Corefile": corefile(spec)},
    }


def _service(spec: LabSpec) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kube-dns",
            "namespace": NAMESPACE,
            "labels": {**_LABELS, "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"},
            "annotations": {"prometheus.io/port": "9153", "prometheus.io/scrape": "true"},
        },
        "spec": {
            "selector": _LABELS,
            **_addresses(spec),
            "ports": [
                {"name": "dns", "port": 53, "targetPort": 53, "protocol": "UDP"},
                {"name": "dns-tcp", "port": 53, "targetPort": 53, "protocol": "TCP"},
                {"name": "metrics", "port": 9153, "targetPort": 9153, "protocol": "TCP"},
            ],
        },
    }


def _addresses(spec: LabSpec) -> Object:
    """A ClusterIP in each family of the cluster; with one family, the fields of a Service that knows of no other."""
    first = {"clusterIP": str(spec.services.dns_address(spec.primary))}
    if len(spec.families) == 1:
        return first
    return first | {
        "clusterIPs": [str(spec.services.dns_address(family)) for family in spec.families],
        "ipFamilyPolicy": "RequireDualStack",
        "ipFamilies": [TITLE[family] for family in spec.families],
    }


def _deployment() -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "coredns", "namespace": NAMESPACE, "labels": _LABELS},
        "spec": {
            # One replica: a second one costs 40 MB and proves nothing about a pod network.
            "replicas": 1,
            "selector": {"matchLabels": _LABELS},
            "template": {
                "metadata": {"labels": _LABELS},
                "spec": {
                    "priorityClassName": "system-cluster-critical",
                    "serviceAccountName": "coredns",
                    "dnsPolicy": "Default",
                    "terminationGracePeriodSeconds": 2,
                    "tolerations": [
                        {"key": "CriticalAddonsOnly", "operator": "Exists"},
                        {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"},
                    ],
                    "containers": [_container()],
                    "volumes": [
                        {
                            "name": "config-volume",
                            "configMap": {"name": "coredns", "items": [{"key": "Corefile", "path": "Corefile"}]},
                        }
                    ],
                },
            },
        },
    }


def _container() -> Object:
    return {
        "name": "coredns",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "resources": {"limits": {"memory": "170Mi"}, "requests": {"cpu": "100m", "memory": "70Mi"}},
        "volumeMounts": [{"name": "config-volume", "mountPath": "/etc/coredns", "readOnly": True}],
        "ports": [
            {"containerPort": 53, "name": "dns", "protocol": "UDP"},
            {"containerPort": 53, "name": "dns-tcp", "protocol": "TCP"},
            {"containerPort": 9153, "name": "metrics", "protocol": "TCP"},
        ],
        "livenessProbe": {
            "httpGet": {"path": "/health", "port": 8080},
            "initialDelaySeconds": 60,
            "timeoutSeconds": 5,
            "failureThreshold": 5,
        },
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
