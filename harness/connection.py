"""What a connection that failed means, and whether time may heal it. Pure.

Whoever waits for a server asks again and again. A server that starts refuses connections, ends them in the middle of a
handshake and lets them hang: time heals that. A certificate that is not accepted, a name that nobody knows, another
protocol, a permission that is lacking stay as they are, and to wait for their end hides them.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["certificate", "own-certificate", "protocol", "name", "permission", "proxy", "address", "file"]

_WORDS: Final[dict[Kind, str]] = {
    "certificate": "the certificate of {whom} is not accepted",
    "own-certificate": "{whom} does not accept this client's certificate",
    "protocol": "the program that answers for {whom} does not speak TLS correctly",
    "name": "the name of {whom} cannot be resolved",
    "permission": "this machine does not allow a connection to {whom}",
    "proxy": "the proxy for {whom} refuses the connection",
    "address": "the address of {whom} is not valid",
    "file": "a certificate or a key for {whom} cannot be read",
}

_CLOCKS: Final = (
    "compare the clocks of both ends; a cluster that cnilab made gets new certificates by 'cnilab down' and 'cnilab up'"
)

_STEPS: Final[dict[Kind, str]] = {
    "certificate": _CLOCKS,
    "own-certificate": _CLOCKS,
    "protocol": "find the program that uses this port: ss -ltnp",
    "name": "check the name, the VPN and this machine's DNS",
    "permission": "check this machine's firewall and security policy, and whether a sandbox forbids sockets",
    "proxy": "check HTTPS_PROXY and NO_PROXY",
    "address": "correct 'server' in the kubeconfig",
    "file": "run as its owner: only the user who brought up a cluster can read its keys",
}

_NOT_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "UNSUPPORTED_PROTOCOL")
_NOT_TLS_ALERTS: Final = ("PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE", "NO_SHARED_CIPHER", "HANDSHAKE_FAILURE")
_OWN_ALERTS: Final = ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN", "CERTIFICATE_EXPIRED",
                      "CERTIFICATE_REVOKED", "UNSUPPORTED_CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED")  # fmt: skip

# EAI_AGAIN is not among them: a name server that does not answer now may do so in a moment (getaddrinfo(3)).
_NO_SUCH_NAME: Final = {socket.EAI_NONAME, socket.EAI_FAIL, socket.EAI_NODATA, socket.EAI_FAMILY}

_PROXY: Final = re.compile(r"Tunnel connection failed: (4\d\d .*)")


@dataclass(frozen=True)
class Lasting:
    """Why a connection failed, where time does not heal it.

    Args:
        kind: Of the reason.
        what: One sentence.
        reason: What the library or the kernel said.
    """

    kind: Kind
    what: str
    reason: str

    @property
    def next_step(self) -> str:
        """What to do now."""
        return _STEPS[self.kind]


def lasting(error: BaseException, whom: str) -> Lasting | None:
    """The reason that time does not heal; None for all that may be otherwise at the next try.

    Args:
        error: As caught. Libraries wrap what they caught themselves, each in another way; all of it is looked at.
        whom: Who was to be reached: "the API server".
    """
    for one in _all(error):
        found = _reason(one)
        if found is not None:
            kind, reason = found
            return Lasting(kind, _WORDS[kind].format(whom=whom), reason)
    return None


def _all(error: BaseException) -> Iterator[BaseException]:
    """An error, and all that it was made of, each once."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if any(one is other for other in seen):
            continue
        seen.append(one)
        yield one
        inside = (*one.args, getattr(one, "reason", None), one.__cause__, one.__context__)
        waiting += [part for part in inside if isinstance(part, BaseException)]


def _reason(error: BaseException) -> tuple[Kind, str] | None:
    found: tuple[Kind, str] | None = None
    if isinstance(error, ssl.SSLCertVerificationError):
        said = getattr(error, "verify_message", "") or str(error)
        found = "certificate", f"certificate verify failed: {said.rstrip('.')}"
    elif type(error).__name__ == "CertificateError":  # of urllib3, which compares some names itself
        found = "certificate", f"certificate verify failed: {error}"
    elif isinstance(error, ssl.SSLError):
        found = _of_tls(error)
    elif isinstance(error, socket.gaierror):
        found = ("name", str(error)) if error.errno in _NO_SUCH_NAME else None
    elif isinstance(error, UnicodeError):  # of the codec for names (RFC 3490): an empty label, or one that is too long
        found = ("address", str(error)) if "label" in str(error) else None
    elif isinstance(error, OSError):
        found = _of_kernel(error)
    return found


def _of_kernel(error: OSError) -> tuple[Kind, str] | None:
    """EACCES and EPERM are of a firewall, a security module, or a socket's permission bits (connect(2))."""
    if said := _PROXY.search(str(error)):
        return "proxy", said[1]
    if error.filename and error.errno in {errno.EACCES, errno.EPERM, errno.ENOENT}:
        return "file", str(error)
    return ("permission", str(error)) if error.errno in {errno.EACCES, errno.EPERM} else None


def _of_tls(error: ssl.SSLError) -> tuple[Kind, str] | None:
    """An end in the middle of a handshake is none of these: servers that start, and relays before them, do it."""
    said = getattr(error, "reason", None) or ""
    if any(word in said for word in _OWN_ALERTS) and "ALERT" in said:
        return "own-certificate", str(error)
    if any(word in said for word in (*_NOT_TLS, *_NOT_TLS_ALERTS)):
        return "protocol", str(error)
    return None
