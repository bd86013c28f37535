"""What a run needs to be allowed, as access reviews (authorization.k8s.io/v1), and what follows from the answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Object = dict[str, Any]

Scope = Literal["cluster", "suite", "probes"]
"""Of a right: all namespaces, the namespace of the suite's pods, or that of the probes on nodes."""

Part = Literal["pods", "namespaces", "nodes", "slices", "probes", "policies", "network", "flows"]
"""What a right is for; a part is allowed when all its rights are."""

REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@dataclass(frozen=True)
class Right:
    """One verb on one kind of object.

    Args:
        part: What it is for.
        verb: As in RBAC.
        resource: As in RBAC, with a subresource after a slash.
        group: API group.
        scope: Where.
        name: Of the object, where only one is meant.
    """

    part: Part
    verb: str
    resource: str
    group: str = ""
    scope: Scope = "suite"
    name: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}" + (f" {self.name}" if self.name else "")

    def review(self, namespace: str) -> Object:
        """The question to the API server.

        Args:
            namespace: Of the scope; empty for all.
        """
        resource, _, subresource = self.resource.partition("/")
        attributes = {
            "verb": self.verb, "group": self.group, "resource": resource, "subresource": subresource,
            "namespace": namespace, "name": self.name,
        }  # fmt: skip
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
        }


def _several(part: Part, verbs: str, resource: str, group: str = "", scope: Scope = "suite") -> tuple[Right, ...]:
    return tuple(Right(part, verb, resource, group, scope) for verb in verbs.split())


WANTED: Final[tuple[Right, ...]] = (
    *_several("pods", "create list delete", "pods"),
    *_several("pods", "get create", "pods/exec"),
    *_several("pods", "create list delete", "services"),
    *_several("pods", "list", "endpointslices", "discovery.k8s.io"),
    *_several("slices", "create patch delete", "endpointslices", "discovery.k8s.io"),
    *_several("namespaces", "create list delete", "namespaces", scope="cluster"),
    *_several("nodes", "list", "nodes", scope="cluster"),
    *_several("probes", "create list delete", "daemonsets", "apps", "probes"),
    *_several("probes", "list", "pods", scope="probes"),
    *_several("probes", "get create", "pods/exec", scope="probes"),
    *_several("policies", "create patch list delete", "networkpolicies", "networking.k8s.io", "cluster"),
    *_several("policies", "create list delete", "pods", scope="cluster"),
    *_several("policies", "get create", "pods/exec", scope="cluster"),
    *_several("network", "list", "daemonsets", "apps", "cluster"),
    *_several("network", "get", "configmaps", scope="cluster"),
)
"""All that the suite asks about: one request each, all at the same time."""

ASKING: Final[tuple[Right, ...]] = (
    *(right for right in WANTED if right.part in {"namespaces", "nodes", "probes", "network"}),
    Right("flows", "get", "pods", scope="cluster"),
    Right("flows", "list", "services", scope="cluster"),
    Right("flows", "list", "endpointslices", "discovery.k8s.io", "cluster"),
    Right("flows", "list", "networkpolicies", "networking.k8s.io", "cluster"),
)
"""What `cnilab why` asks about: it makes nothing but probes on nodes, and reads who is where."""

ROLE: Final[tuple[Object, ...]] = (
    {"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["create", "list", "delete"]},
    {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get", "create"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list"]},
)
"""Rules of the smallest Role that a run can do with, in a namespace that somebody made for it."""

CLUSTER_ROLE: Final[tuple[Object, ...]] = (
    {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["create", "list", "delete"]},
    {"apiGroups": [""], "resources": ["nodes", "services"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "create", "delete"]},
    {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get", "create"]},
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]},
    {"apiGroups": ["apps"], "resources": ["daemonsets"], "verbs": ["create", "list", "delete"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list"]},
    {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["list"]},
)
"""Rules of the ClusterRole that `cnilab why` can do with."""


@dataclass(frozen=True)
class Rights:
    """The answers.

    Args:
        denied: Rights that are not given, with the API server's reason.
    """

    denied: Mapping[Right, str]

    def lacking(self, part: Part) -> list[Right]:
        """Rights of a part that are not given."""
        return [right for right in self.denied if right.part == part]

    def has(self, part: Part) -> bool:
        """All rights of a part are given."""
        return not self.lacking(part)

    def why(self, part: Part) -> str:
        """What is lacking, in words."""
        return f"not allowed to {', '.join(map(str, self.lacking(part)))}"


def answers(asked: Iterable[tuple[Right, Object]]) -> Rights:
    """Read the reviews that came back."""
    return Rights(
        {
            right: str(review.get("status", {}).get("reason") or "")
            for right, review in asked
            if not review.get("status", {}).get("allowed")
        }
    )
