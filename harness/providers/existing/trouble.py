"""Why a cluster cannot be used, in words that say what to do: from what the connection or the API server answered."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from harness.errors import CnilabError, PreflightError


@dataclass(frozen=True)
class Way:
    """How the cluster was to be reached.

    Args:
        kubeconfig: Path of the file.
        context: Its context.
        server: URL of the API server.
        user: Name of the user entry.
        cert: PEM of the client's certificate; empty without one.
    """

    kubeconfig: str
    context: str
    server: str
    user: str = ""
    cert: bytes = b""

    @property
    def where(self) -> str:
        """Server and context, for an error."""
        return f"{self.server} (context '{self.context}' of {self.kubeconfig})"

    @property
    def kubectl(self) -> str:
        """Kubectl with the same cluster."""
        return f"kubectl --kubeconfig {self.kubeconfig} --context {self.context}"


def explain(way: Way, status: int, cause: str, now: datetime) -> CnilabError:
    """The error that a first request ended with.

    Args:
        way: How the cluster was to be reached.
        status: Of HTTP; 0 for no answer.
        cause: What the library or the server said.
        now: With time zone: a certificate may have expired.
    """
    if status == 401:
        return _unauthorised(way, cause, now)
    if status == 403:
        msg = "the cluster accepts this user but grants no rights"
        return PreflightError(
            msg,
            cause=cause,
            where=way.where,
            next_step=f"{way.kubectl} auth can-i --list; docs/existing.md has the smallest Role",
        )
    if status:
        msg = f"the API server answered {status}"
        return PreflightError(msg, cause=cause, where=way.where, next_step=f"{way.kubectl} get --raw /readyz?verbose")
    return _silent(way, cause)


def _unauthorised(way: Way, cause: str, now: datetime) -> CnilabError:
    ended = expiry(way.cert)
    if ended is not None and ended <= now:
        msg = "the client certificate of the kubeconfig has expired"
        return PreflightError(
            msg,
            cause=f"it was valid until {ended:%Y-%m-%d %H:%M} UTC",
            where=way.where,
            next_step="fetch a fresh kubeconfig; with kubeadm: kubeadm certs renew admin.conf",
        )
    msg = f"the cluster does not accept the credentials of user '{way.user}'"
    return PreflightError(msg, cause=cause, where=way.where, next_step="log in again, or fetch a fresh kubeconfig")


_SILENT: tuple[tuple[str, str, str], ...] = (
    (
        r"certificate has expired",
        "the certificate of the API server has expired",
        "renew it; with kubeadm: kubeadm certs renew apiserver",
    ),
    (
        r"certificate is not yet valid",
        "the certificate of the API server is not valid yet",
        "compare this machine's clock with the cluster's",
    ),
    (
        r"[Hh]ostname mismatch|doesn't match|IP address mismatch",
        "the certificate of the API server is for another name",
        "use a server name that is in the certificate, or set tls-server-name in the kubeconfig",
    ),
    (
        r"self.signed certificate|unable to get (?:local )?issuer",
        "the certificate of the API server was not issued by the kubeconfig's authority",
        "fetch a fresh kubeconfig: certificate-authority-data belongs to another cluster",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed",
        "the certificate of the API server is not accepted",
        "check whether kubectl accepts it, and ask the cluster's administrator to renew it",
    ),
    (
        r"Name or service not known|Temporary failure in name resolution|nodename nor servname|getaddrinfo",
        "the name of the API server cannot be resolved",
        "check the server in the kubeconfig, the VPN and this machine's DNS",
    ),
    (
        r"[Cc]onnection refused",
        "nothing listens at the API server's address in the kubeconfig",
        "start the cluster, or fetch a fresh kubeconfig: the port may have changed",
    ),
    (
        r"Permission denied|Operation not permitted",
        "this machine does not allow a connection to the API server",
        "check this machine's firewall and security policy, and whether a sandbox forbids sockets",
    ),
    (
        r"WRONG_VERSION_NUMBER|HTTP_REQUEST|UNKNOWN_PROTOCOL|[Ww]rong version number",
        "the program at the API server's address in the kubeconfig does not speak TLS",
        "check the server in the kubeconfig: its port, and https",
    ),
    (
        r"timed out|[Tt]imeout",
        "the API server does not answer",
        "check the VPN, the firewall and whether the cluster is up",
    ),
    (
        r"[Nn]o route to host|[Nn]etwork is unreachable",
        "there is no route to the API server",
        "check the VPN and this machine's routes",
    ),
)
"""What a library says of a connection, what it means, and what to do."""


def _silent(way: Way, cause: str) -> CnilabError:
    host = urllib.parse.urlsplit(way.server).netloc or way.server
    for pattern, what, step in _SILENT:
        if re.search(pattern, cause):
            return PreflightError(what, cause=_short(cause), where=way.where, next_step=step)
    msg = f"no answer from {host}"
    return PreflightError(msg, cause=_short(cause), where=way.where, next_step=f"{way.kubectl} version")


_REASONS = (
    r"certificate verify failed: (.+?)\.?(?: \(_ssl|$)",
    r"\[Errno -?\d+\] [^\"')]+",
    r"Connection to \S+ timed out",
)


def _short(cause: str) -> str:
    """The reason alone: libraries wrap it in the names of their own objects."""
    for pattern in _REASONS:
        if found := re.search(pattern, cause):
            return found[found.lastindex or 0].strip()
    return re.sub(r"<[^>]*>[:,]? ?", "", cause).strip()


def expiry(pem: bytes) -> datetime | None:
    """When a certificate ends; None for something that is none.

    Args:
        pem: The certificate.
    """
    try:
        return x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except ValueError:
        return None
