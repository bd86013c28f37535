from __future__ import annotations

import pytest

from harness.cluster.kube import object_path, resource_path
from harness.errors import BringUpError


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (("v1", "Pod", "labs", "a"), "/api/v1/namespaces/labs/pods/a"),
        (("v1", "Pod"), "/api/v1/pods"),
        (("v1", "Node", "ignored", "n1"), "/api/v1/nodes/n1"),
        (("apps/v1", "DaemonSet", "kube-flannel"), "/apis/apps/v1/namespaces/kube-flannel/daemonsets"),
        (("v1", "Pod", "labs", "../x?y"), "/api/v1/namespaces/labs/pods/..%2Fx%3Fy"),
    ],
)
def test_paths_of_objects_and_collections(arguments: tuple[str, ...], path: str) -> None:
    assert resource_path(*arguments) == path


def test_an_object_without_a_namespace_belongs_to_default() -> None:
    assert object_path({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}) == (
        "/api/v1/namespaces/default/services/web"
    )


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(BringUpError, match="kind Gadget is not in the client's table"):
        resource_path("v1", "Gadget")
