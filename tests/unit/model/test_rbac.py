"""Accounts and their rights."""

from __future__ import annotations

from harness.model import rbac

RULES = [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]


def test_account_role_and_binding_have_one_name_unless_told_otherwise() -> None:
    account, role, binding = rbac.cluster_access("agent", "kube-system", RULES)
    assert account["metadata"] == {"name": "agent", "namespace": "kube-system"}
    assert role["metadata"] == binding["metadata"] == {"name": "agent"}
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "agent"}
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "agent", "namespace": "kube-system"}]


def test_a_role_can_have_a_name_of_its_own() -> None:
    account, role, binding = rbac.cluster_access("dns", "kube-system", RULES, role="system:dns")
    assert account["metadata"]["name"] == "dns"
    assert role["metadata"]["name"] == binding["roleRef"]["name"] == "system:dns"


def test_a_role_of_a_namespace_stays_in_it() -> None:
    role, binding = rbac.namespace_access("agent", "kube-system", RULES, role="config", labels={"part-of": "agent"})
    assert role["kind"] == binding["roleRef"]["kind"] == "Role"
    assert role["metadata"] == {"name": "config", "namespace": "kube-system", "labels": {"part-of": "agent"}}
