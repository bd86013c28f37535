"""A way to a cluster: where, as whom, and a TLS context that leaves no key on the disk."""

from __future__ import annotations

import base64
import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import UsageError


@dataclass(frozen=True)
class Access:
    """A way to a cluster.

    Args:
        path: The kubeconfig that it comes from.
        context: Name of the context.
        server: URL of the API server, without a path.
        namespace: Of the context; `default` where it has none.
        user: Name of the user entry.
        ca: PEM of the authority; empty for the system's.
        cert: PEM of the client's certificate; empty without one.
        key: PEM of its key.
        token: Bearer token; empty without one.
        password: User name and password, for the few clusters that still know them.
        server_name: Name that the server's certificate must have; empty for the URL's.
        verify: Whether the server's certificate is looked at.
        proxy: URL of an HTTP proxy; empty for none.
    """

    path: Path
    context: str
    server: str
    namespace: str = "default"
    user: str = ""
    ca: bytes = field(default=b"", repr=False)
    cert: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)
    token: str = field(default="", repr=False)
    password: tuple[str, str] | None = field(default=None, repr=False)
    server_name: str = ""
    verify: bool = True
    proxy: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries to say who sends it."""
        if self.token:
            return {"Authorization": f"Bearer {self.token}"}
        if self.password:
            return {"Authorization": f"Basic {base64.b64encode(':'.join(self.password).encode()).decode()}"}
        return {}

    def tls(self) -> ssl.SSLContext:
        """A context with the authority and the client's certificate.

        OpenSSL reads keys from files only; this one is in memory, and gone with its descriptor (memfd_create(2)).

        A server's certificate is verified as kubectl verifies it, with every version of Python. From 3.13 on Python
        refuses certificates that lack what RFC 5280 wants besides, as an Authority Key Identifier: many a cluster has
        such, and whether they are genuine does not depend on it. An authority may be one between, and need not be the
        root.

        Raises:
            UsageError: Authority, certificate or key are none.
        """
        try:
            made = ssl.create_default_context(cadata=self.ca.decode() or None)
            made.verify_flags = (made.verify_flags & ~ssl.VERIFY_X509_STRICT) | ssl.VERIFY_X509_PARTIAL_CHAIN
            if not self.verify:
                made.check_hostname = False
                made.verify_mode = ssl.CERT_NONE
            if self.cert:
                descriptor = os.memfd_create("client")
                try:
                    os.write(descriptor, self.cert + b"\n" + self.key)
                    made.load_cert_chain(f"/proc/self/fd/{descriptor}")
                finally:
                    os.close(descriptor)
        except (ssl.SSLError, ValueError) as error:
            msg = f"the certificates of context '{self.context}' cannot be used"
            raise UsageError(
                msg, cause=str(error), where=str(self.path), next_step="fetch a fresh kubeconfig for this cluster"
            ) from error
        return made

    def told(self) -> str:
        """All of it as text, secrets included, for a process of ours."""
        facts = {**vars(self), "path": str(self.path)}
        return json.dumps({key: _text(value) for key, value in facts.items()})


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def heard(text: str) -> Access:
    """What another process told."""
    facts: Mapping[str, Any] = json.loads(text)
    more = {key: facts[key].encode() for key in ("ca", "cert", "key")}
    password = tuple(facts["password"]) if facts["password"] else None
    return Access(**{**facts, **more, "path": Path(facts["path"]), "password": password})
