"""The pods on which policies are tried, as objects, in namespaces where no other check ever looks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from conformance.manifests import IMAGE
from conformance.policy.cases import PREFIX, Newcomer, World, placed, pod_names
from conformance.policy.model import Policy
from harness.model.family import Family

Object = dict[str, Any]

TOOLBOX: Final = "cnilab.dev/toolbox:1"
MARK: Final = "dialling"
"""First line of the newcomer's log."""

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
    container = {
        "image": IMAGE,
        "args": ["serve", "--name", f"{namespace}/{name}", "--ports", ",".join(map(str, world.serve))],
        "ports": [{"name": "web", "containerPort": case.web, "protocol": "TCP"}],
    }
    return _pod(PREFIX + namespace, name, node, case.labels | {"pod": name}, container)


def newcomer(case: Newcomer, node: str, plan: str) -> Object:
    """The newcomer: its first process is a shell that gives the agent its plan, so nothing comes before the first dial.

    Args:
        case: Whose pod it is.
        node: Where it runs.
        plan: For `responder run`, JSON.
    """
    container = {
        "image": TOOLBOX,
        "command": ["sh", "-c", f'echo {MARK}; printf %s "$PLAN" | /responder run'],
        "env": [{"name": "PLAN", "value": plan}],
    }
    return _pod(PREFIX + case.namespace, case.name, node, case.labels, container)


def _pod(namespace: str, name: str, node: str, labels: dict[str, str], container: Object) -> Object:
    common = {"name": "main", "imagePullPolicy": "IfNotPresent", "resources": {"requests": {"cpu": "1m"}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never" if "command" in container else "Always",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "tolerations": [{"operator": "Exists"}],
            "containers": [common | container],
        },
    }


def applied(policy: Policy, families: Collection[Family]) -> Object:
    """A policy as it is sent to the API server, with the mark by which leftovers are found.

    Args:
        policy: The policy.
        families: IP families of the cluster.
    """
    made: Object = policy.of(families).manifest(PREFIX + policy.namespace)
    made["metadata"]["labels"] = OWNER
    return made
