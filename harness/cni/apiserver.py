"""The API server by its own address, for agents that cannot or should not wait for the work of kube-proxy."""

from __future__ import annotations

from typing import Any

from harness.model.spec import LabSpec
from harness.model.wellknown import API_PORT


def address(spec: LabSpec) -> str:
    """The control plane's address on the underlay."""
    return str(spec.node_address(spec.node_names[0]))


def environment(spec: LabSpec) -> list[dict[str, Any]]:
    """Variables of a container that lead its client to the API server instead of to its Service.

    These are the names that kubelet gives to every container, and that client-go's `rest.InClusterConfig` reads.
    """
    return [
        {"name": "KUBERNETES_SERVICE_HOST", "value": address(spec)},
        {"name": "KUBERNETES_SERVICE_PORT", "value": str(API_PORT)},
    ]
