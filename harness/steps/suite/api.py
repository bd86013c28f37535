"""The API server as pods find it: its Service, the servers behind it, and the authority that pods trust."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from conformance.inventory import ApiServer
from harness.cluster.kube import ApiError, Kube, Object
from harness.model.family import endpoint

SERVICE: Final = "kubernetes"
"""In the namespace `default`; the API server itself makes it, and its EndpointSlice."""

AUTHORITY: Final = "kube-root-ca.crt"
"""The ConfigMap that every namespace has, with what pods verify the API server with (KEP-1205)."""


def api_server(kube: Kube, namespace: str) -> ApiServer | None:
    """The API server's Service; None where it has no endpoint.

    Args:
        kube: The cluster's API.
        namespace: Where the authority is read: of the suite, since others may be closed to us.

    Raises:
        ApiError: The Service or its endpoints may not be read.
    """
    service = kube.get("v1", "Service", SERVICE, "default")
    labels = f"kubernetes.io/service-name={SERVICE}"
    slices = kube.list("discovery.k8s.io/v1", "EndpointSlice", "default", labels=labels)
    endpoints = tuple(dict.fromkeys(_endpoints(slices)))
    if service is None or not endpoints:
        return None
    return ApiServer(
        cluster_ip=service["spec"]["clusterIP"],
        port=service["spec"]["ports"][0]["port"],
        endpoints=endpoints,
        ca=_authority(kube, namespace),
    )


def _endpoints(slices: Sequence[Object]) -> Iterator[str]:
    for item in slices:
        for one in item.get("endpoints") or ():
            if one.get("conditions", {}).get("ready", True):
                for port in item.get("ports") or ():
                    yield from (endpoint(address, port["port"]) for address in one["addresses"])


def _authority(kube: Kube, namespace: str) -> str:
    """PEM of what pods trust; empty where it cannot be read, and certificates are then only compared."""
    with suppress(ApiError):
        found = kube.get("v1", "ConfigMap", AUTHORITY, namespace)
        return str((found or {}).get("data", {}).get("ca.crt", ""))
    return ""
