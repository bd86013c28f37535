"""The pods on which policies are tried, as objects, in namespaces where no other check ever looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from conformance.manifests import IMAGE
from conformance.policy.cases import PREFIX, World, placed, pod_names
from conformance.policy.model import Policy

Object = dict[str, Any]

OWNER: Final = {"app.kubernetes.io/managed-by": "cnilab"}


def objects(world: World, nodes: Sequence[str]) -> list[Object]:
    """Namespaces, their accounts, and pods.

    Args:
        world: Who is there.
        nodes: Names of the nodes over which pods are spread.
    """
    made: list[Object] = []
    for namespace, labels in world.namespaces.items():
        name = PREFIX + namespace
        made.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": OWNER | labels}})
        # Pods cannot be admitted before it is there, and its controller takes a while.
        account = {"name": "default", "namespace": name}
        made.append({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    places = placed(world, nodes)
    return made + [pod(world, namespace, name, places[f"{namespace}/{name}"]) for namespace, name in pod_names(world)]


def pod(world: World, namespace: str, name: str, node: str) -> Object:
    """A responder on all ports of the world, with one named port."""
    case = world.pods[name]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": PREFIX + namespace, "labels": case.labels | {"pod": name}},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "tolerations": [{"operator": "Exists"}],
            "containers": [
                {
                    "name": "main",
                    "image": IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "args": ["serve", "--name", f"{namespace}/{name}", "--ports", ",".join(map(str, world.serve))],
                    "ports": [{"name": "web", "containerPort": case.web, "protocol": "TCP"}],
                    "resources": {"requests": {"cpu": "1m", "memory": "4Mi"}},
                }
            ],
        },
    }


def applied(policy: Policy) -> Object:
    """A policy as it is sent to the API server, with the mark by which leftovers are found."""
    made: Object = policy.manifest(PREFIX + policy.namespace)
    made["metadata"]["labels"] = OWNER
    return made
