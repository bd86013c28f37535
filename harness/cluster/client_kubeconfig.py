"""Kubeconfigs of a lab: readable by its owner only."""

from __future__ import annotations

import base64
from typing import Any

from harness import yamlio
from harness.errors import BringUpError
from harness.files import write_private
from harness.model.labstate import LabDir


def write_client(place: LabDir, server: str, ca: str, certificate: str, key: str) -> None:
    """A kubeconfig that names files, for this program.

    The official client writes embedded keys to temporary files, which a kill would leave behind; with files of the
    lab's own it has no need to.

    Args:
        place: The lab's directories.
        server: URL of the API server.
        ca: Certificate of who signed the server's, PEM.
        certificate: The administrator's, PEM.
        key: Its key, PEM.
    """
    folder = place.client_kubeconfig.parent
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, content in (("ca.crt", ca), ("admin.crt", certificate), ("admin.key", key)):
        write_private(folder / name, content)
    write_private(place.client_kubeconfig, _client(server))


def split_client(place: LabDir, text: str) -> int:
    """The same as a kubeconfig that others wrote, with keys in files beside it, for this program's own use.

    Args:
        place: The lab's directories.
        text: What kubeadm, or kind, says.

    Returns:
        The port of the API server on the loopback.

    Raises:
        BringUpError: It lacks something.
    """
    document: dict[str, Any] = yamlio.loads(text)
    try:
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        keys = (cluster["certificate-authority-data"], user["client-certificate-data"], user["client-key-data"])
    except (KeyError, IndexError, TypeError) as error:
        msg = "the generated kubeconfig is not as expected"
        raise BringUpError(msg, cause=f"it lacks {error}", where=str(place.kubeconfig)) from error
    ca, certificate, key = (base64.b64decode(text).decode() for text in keys)
    write_client(place, cluster["server"], ca, certificate, key)
    return int(cluster["server"].rpartition(":")[2])


def _client(server: str) -> str:
    return yamlio.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority": "ca.crt"}}],
            "users": [{"name": "admin", "user": {"client-certificate": "admin.crt", "client-key": "admin.key"}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}],
            "current-context": "lab",
        }
    )
