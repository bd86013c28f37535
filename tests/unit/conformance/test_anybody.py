"""One container of the suite is nobody's: what only root may read in an image is noticed."""

from __future__ import annotations

from conformance.manifests import NOBODY, pods
from harness.model.spec import LabSpec


def test_every_nodes_pods_have_a_container_that_is_not_root() -> None:
    spec = LabSpec(nodes=3)
    users = {
        (pod["spec"]["nodeName"], container.get("securityContext", {}).get("runAsUser", 0))
        for pod in pods(spec)
        for container in pod["spec"]["containers"]
    }
    assert {node for node, user in users if user == NOBODY} == set(spec.node_names)
    rights = [
        container["securityContext"]["capabilities"]
        for pod in pods(spec)
        for container in pod["spec"]["containers"]
        if container["name"] == "sibling"
    ]
    assert rights == [{"drop": ["ALL"]}] * spec.nodes


def test_containers_that_probe_are_root_since_they_make_raw_sockets() -> None:
    for pod in pods(LabSpec()):
        assert "securityContext" not in pod["spec"]["containers"][0]
