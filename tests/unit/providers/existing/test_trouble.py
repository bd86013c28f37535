"""Every way in which a cluster cannot be used has an error that says why, where, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness.errors import PreflightError
from harness.providers.existing.trouble import Way, expiry, explain

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
WAY = Way("/home/me/.kube/config", "staging", "https://k8s.example:6443", "alice")

POOL = "HTTPSConnectionPool(host='k8s.example', port=6443): Max retries exceeded with url: /version (Caused by "
NEW = "NewConnectionError('<urllib3.connection.HTTPSConnection object at 0x7f>: Failed to establish a new connection: "
TLS = "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: "
SAID = {
    "refused": (0, f"{POOL}{NEW}[Errno 111] Connection refused'))"),
    "unreachable": (0, f"{POOL}{NEW}[Errno 113] No route to host'))"),
    "silent": (0, f"{POOL}ConnectTimeoutError(<…>, 'Connection to k8s.example timed out. (connect timeout=5.0)'))"),
    "unknown-name": (
        0,
        f"{POOL}NameResolutionError('<…>: Failed to resolve … ([Errno -2] Name or service not known)'))",
    ),
    "server-expired": (0, f"{POOL}{TLS}certificate has expired (_ssl.c:1016)')))"),
    "other-authority": (0, f"{POOL}{TLS}unable to get local issuer certificate (_ssl.c:1016)')))"),
    "other-name": (0, f"{POOL}{TLS}Hostname mismatch, certificate is not valid for 'k8s.example'. (_ssl.c:1016)')))"),
    "unauthorised": (401, "Unauthorized"),
    "forbidden": (403, 'forbidden: User "alice" cannot get path "/version"'),
    "broken": (503, "the server is currently unable to handle the request"),
}


@pytest.mark.parametrize("name", SAID)
def test_what_a_connection_says_becomes_an_error_with_a_next_step(
    name: str, golden: Callable[[str, str], None]
) -> None:
    status, cause = SAID[name]
    error = explain(WAY, status, cause, NOW)
    assert isinstance(error, PreflightError)
    assert error.exit_code == 10
    assert error.next_step
    golden(f"existing/{name}.txt", f"{error}\n")


def certificate(ends: datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "alice")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(ends - timedelta(days=365))
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def test_a_client_certificate_that_has_expired_is_named_as_the_cause(golden: Callable[[str, str], None]) -> None:
    ends = datetime(2026, 5, 1, 8, 30, tzinfo=UTC)
    way = Way(WAY.kubeconfig, WAY.context, WAY.server, "alice", certificate(ends))
    assert expiry(way.cert) == ends
    golden("existing/client-expired.txt", f"{explain(way, 401, 'Unauthorized', NOW)}\n")


def test_a_certificate_that_is_good_is_not_blamed() -> None:
    way = Way(WAY.kubeconfig, WAY.context, WAY.server, "alice", certificate(NOW + timedelta(days=1)))
    assert "expired" not in str(explain(way, 401, "Unauthorized", NOW))
