"""Pods that a kubelet probes, as objects and as what was seen of them. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from conformance.inventory import NAMESPACE
from conformance.manifests import IMAGE, SIBLING_PORT, Object
from conformance.policy.manifests import TOOLBOX
from harness.model.world import RESPONDER_PORT

WHAT: Final = "kubelet"
"""Subject of the dump."""

LABELS: Final = {"app": "probed"}
OVER: Final[Mapping[str, str]] = {"http": "HTTP", "tcp": "TCP"}
"""Containers that are probed over the network, and how a sentence says it."""

WITHOUT: Final = "exec"
"""The container that the same kubelet probes at the same moments by running a program: no network has a part in it."""

PROBES: Final = 3
"""Probes of a container that must have ended under the policy."""

PATIENT: Final = 10
"""Probes without the network after which nobody waits for others any longer: they come once a second."""

_TIMES: Final = {"periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": 1, "successThreshold": 1}
_LINE: Final = re.compile(r"^prober_probe_total\{(?P<labels>.*)\} (?P<value>[0-9.e+]+)$")
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')


def names(nodes: Sequence[str]) -> dict[str, str]:
    """A pod of each node, by node: `k1`, `k2`."""
    return {node: f"k{number}" for number, node in enumerate(nodes, start=1)}


def pods(nodes: Sequence[str]) -> list[Object]:
    """A pod on each node whose three containers its kubelet probes once a second."""
    return [_pod(name, node) for node, name in names(nodes).items()]


def _pod(name: str, node: str) -> Object:
    serves = {"http": RESPONDER_PORT, "tcp": SIBLING_PORT}
    ways: dict[str, Object] = {
        "http": {"httpGet": {"path": "/healthz", "port": serves["http"]}},
        "tcp": {"tcpSocket": {"port": serves["tcp"]}},
        WITHOUT: {"exec": {"command": ["true"]}},
    }
    made = [
        {
            "name": way,
            "image": IMAGE if way in serves else TOOLBOX,
            "imagePullPolicy": "IfNotPresent",
            "args": ["serve", "--name", name, "--ports", str(serves[way])] if way in serves else ["sleep", "infinity"],
            "readinessProbe": {**probe, **_TIMES},
            "resources": {"requests": {"cpu": "1m", "memory": "4Mi"}},
        }
        for way, probe in ways.items()
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": LABELS},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "tolerations": [{"operator": "Exists"}],
            "containers": made,
        },
    }


def deny_all() -> Object:
    """The policy under which nobody may reach these pods; a kubelet may all the same."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "probed-deny-all", "namespace": NAMESPACE},
        "spec": {"podSelector": {"matchLabels": LABELS}, "policyTypes": ["Ingress", "Egress"]},
    }


def counted(text: str, uid: str) -> dict[str, Counter[str]]:
    """Readiness probes of a pod that have ended, by container and result.

    Args:
        text: What a kubelet says at /metrics/probes.
        uid: Of the pod: an earlier one may have had its name.
    """
    found: dict[str, Counter[str]] = {}
    for line in text.splitlines():
        if (match := _LINE.match(line)) is None:
            continue
        labels = dict(_LABEL.findall(match["labels"]))
        if (labels.get("pod_uid"), labels.get("probe_type")) == (uid, "Readiness"):
            found.setdefault(labels["container"], Counter())[labels["result"]] += int(float(match["value"]))
    return found


def since(before: Mapping[str, Any], after: Mapping[str, Any], container: str) -> Counter[str]:
    """Probes of a container that ended between two looks, by result."""
    late, early = ((look.get("probes") or {}).get(container) or {} for look in (after, before))
    return Counter({result: int(count) - int(early.get(result, 0)) for result, count in late.items()})


def ended(before: Mapping[str, Any], after: Mapping[str, Any], container: str) -> int:
    """How many these are; a probe whose result a kubelet does not know counts as none."""
    new = since(before, after, container)
    return new["successful"] + new["failed"]
