"""Certificates of a cluster: a CA for each purpose, and a certificate for each role.

As kubeadm does it (Kubernetes docs, "PKI certificates and requirements"), with ECDSA P-256 keys, which are made in
about a millisecond where RSA keys take a hundred. A lab lives for hours: certificates are valid for thirty days.

They keep RFC 5280 to the letter, as strict clients want them: Python does from 3.13 on (`ssl.VERIFY_X509_STRICT`), and
then refuses a certificate without an Authority Key Identifier. They begin a while before they are made, since whoever
reads them may have a clock that is behind.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from harness.model.family import Address

_VALID = dt.timedelta(days=30)
_CLOCK_SKEW = dt.timedelta(minutes=10)
"""How far the clock of whoever looks at a certificate may be behind; Kubernetes itself allows five minutes."""


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, PEM."""

    cert: str
    key: str


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()


def signing_key() -> Pair:
    """A key pair for service account tokens: `cert` is the public key."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Pair(public.decode(), _pem(key))


class Authority:
    """A certificate authority.

    Args:
        name: Its common name.
    """

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        self._made = dt.datetime.now(dt.UTC)
        builder = self._builder(self._name, self._key.public_key(), ca=True)
        self._cert = builder.sign(self._key, hashes.SHA256())

    @property
    def pair(self) -> Pair:
        """The authority's own certificate and key."""
        return Pair(self.cert, _pem(self._key))

    @property
    def cert(self) -> str:
        """The authority's certificate, PEM: what others trust."""
        return self._cert.public_bytes(serialization.Encoding.PEM).decode()

    def issue(self, common_name: str, *, groups: Sequence[str] = (), names: Sequence[str] = ()) -> Pair:
        """Issue a certificate.

        Args:
            common_name: User name for Kubernetes.
            groups: Organisations; groups for Kubernetes.
            names: Host names and addresses; with any, it is a server certificate too.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [
                *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups),
                x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            ]
        )
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = self._builder(subject, key.public_key(), ca=False)
        if names:
            purposes.append(ExtendedKeyUsageOID.SERVER_AUTH)
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general(name) for name in names]), critical=False
            )
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        cert = builder.sign(self._key, hashes.SHA256())
        return Pair(cert.public_bytes(serialization.Encoding.PEM).decode(), _pem(key))

    def _builder(self, subject: x509.Name, public: ec.EllipticCurvePublicKey, *, ca: bool) -> x509.CertificateBuilder:
        """What every certificate has (RFC 5280, section 4); none outlives its authority."""
        issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._identifier)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._made - _CLOCK_SKEW)
            .not_valid_after(self._made + _VALID)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(_usage(ca=ca), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(issuer, critical=False)
        )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, ca: bool) -> x509.KeyUsage:
    """Authorities sign certificates, all others handshakes; a key for ECDSA enciphers nothing (RFC 5480, section 3)."""
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        key_encipherment=False,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


@dataclass(frozen=True)
class ClusterPki:
    """All certificates of a cluster."""

    ca: Pair
    etcd_ca: str
    etcd_server: Pair
    etcd_client: Pair
    front_proxy_ca: str
    front_proxy_client: Pair
    api_server: Pair
    kubelet_client: Pair
    service_accounts: Pair
    admin: Pair
    controller_manager: Pair
    scheduler: Pair
    proxy: Pair
    nodes: dict[str, Pair]


def make_pki(nodes: Mapping[str, Sequence[Address]], api_names: Sequence[str]) -> ClusterPki:
    """Make the certificates of one cluster.

    Args:
        nodes: Name to addresses on the underlay.
        api_names: Names and addresses under which the API server is called.
    """
    cluster, etcd, front_proxy = (
        Authority("kubernetes-ca"),
        Authority("etcd-ca"),
        Authority("kubernetes-front-proxy-ca"),
    )
    local = ["localhost", "127.0.0.1"]
    return ClusterPki(
        ca=cluster.pair,
        etcd_ca=etcd.cert,
        etcd_server=etcd.issue("etcd", names=local),
        etcd_client=etcd.issue("kube-apiserver-etcd-client"),
        front_proxy_ca=front_proxy.cert,
        front_proxy_client=front_proxy.issue("front-proxy-client"),
        api_server=cluster.issue("kube-apiserver", names=api_names),
        kubelet_client=cluster.issue("kube-apiserver-kubelet-client", groups=["system:masters"]),
        service_accounts=signing_key(),
        admin=cluster.issue("kubernetes-admin", groups=["system:masters"]),
        controller_manager=cluster.issue("system:kube-controller-manager", names=local),
        scheduler=cluster.issue("system:kube-scheduler", names=local),
        proxy=cluster.issue("system:kube-proxy"),
        nodes={
            name: cluster.issue(f"system:node:{name}", groups=["system:nodes"], names=[name, *map(str, addresses)])
            for name, addresses in nodes.items()
        },
    )
