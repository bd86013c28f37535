"""Accounts and what they may do, as Kubernetes objects (rbac.authorization.k8s.io/v1). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Object = dict[str, Any]

_GROUP = "rbac.authorization.k8s.io"


def cluster_access(
    account: str, namespace: str, rules: Sequence[Object], *, role: str = "", labels: Mapping[str, str] | None = None
) -> list[Object]:
    """A ServiceAccount with a ClusterRole of its own, and the binding of the two.

    Args:
        account: Name of the ServiceAccount.
        namespace: Where it is.
        rules: PolicyRules of the role.
        role: Name of the role and of its binding; by default the account's.
        labels: Of role and binding.
    """
    name = role or account
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": namespace}},
        {"apiVersion": f"{_GROUP}/v1", "kind": "ClusterRole", "metadata": _meta(name, labels), "rules": list(rules)},
        _binding("Cluster", _meta(name, labels), account, namespace),
    ]


def namespace_access(
    account: str, namespace: str, rules: Sequence[Object], *, role: str, labels: Mapping[str, str] | None = None
) -> list[Object]:
    """A Role in the account's own namespace, and the binding of the two.

    Args:
        account: Name of a ServiceAccount that is there.
        namespace: Where it is.
        rules: PolicyRules of the role.
        role: Name of the role and of its binding.
        labels: Of role and binding.
    """
    meta = _meta(role, labels, namespace)
    return [
        {"apiVersion": f"{_GROUP}/v1", "kind": "Role", "metadata": meta, "rules": list(rules)},
        _binding("", meta, account, namespace),
    ]


def _meta(name: str, labels: Mapping[str, str] | None, namespace: str = "") -> Object:
    place = {"namespace": namespace} if namespace else {}
    return {"name": name, **place, **({"labels": dict(labels)} if labels else {})}


def _binding(scope: str, meta: Object, account: str, namespace: str) -> Object:
    return {
        "apiVersion": f"{_GROUP}/v1",
        "kind": f"{scope}RoleBinding",
        "metadata": meta,
        "roleRef": {"apiGroup": _GROUP, "kind": f"{scope}Role", "name": meta["name"]},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }
