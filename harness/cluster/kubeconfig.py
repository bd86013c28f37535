"""Kubeconfig files, one per role, with embedded certificates."""

from __future__ import annotations

import base64

from harness import yamlio
from harness.cluster.pki import Pair


def _data(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def kubeconfig(server: str, ca: str, user: str, pair: Pair, *, cluster: str = "cnilab") -> str:
    """Render a kubeconfig.

    Args:
        server: URL of the API server, as this role reaches it.
        ca: Certificate of the cluster's CA, PEM.
        user: Name of the user entry.
        pair: The role's client certificate.
        cluster: Name of the cluster entry and of the context.
    """
    return yamlio.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": cluster, "cluster": {"server": server, "certificate-authority-data": _data(ca)}}],
            "users": [
                {
                    "name": user,
                    "user": {"client-certificate-data": _data(pair.cert), "client-key-data": _data(pair.key)},
                }
            ],
            "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
            "current-context": cluster,
        }
    )
