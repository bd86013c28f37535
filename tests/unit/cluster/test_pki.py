from __future__ import annotations

import base64
from ipaddress import IPv4Address, IPv6Address

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from harness import yamlio
from harness.cluster.kubeconfig import kubeconfig
from harness.cluster.pki import Pair, make_pki
from harness.model.family import Address

NODES: dict[str, list[Address]] = {
    "n1": [IPv4Address("172.18.0.11")],
    "n2": [IPv4Address("172.18.0.12"), IPv6Address("fd00:172:18::12")],
}
PKI = make_pki(NODES, ["kubernetes", "127.0.0.1", "10.96.0.1"])


def load(pair: Pair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.cert.encode())


def names(cert: x509.Certificate) -> set[str]:
    extension = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(entry.value) for entry in extension}


def test_api_server_is_valid_for_every_name_it_is_called_by() -> None:
    assert names(load(PKI.api_server)) == {"kubernetes", "127.0.0.1", "10.96.0.1"}


def test_kubelet_is_a_user_of_the_nodes_group_and_a_server_for_its_addresses() -> None:
    cert = load(PKI.nodes["n2"])
    assert cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "system:node:n2"
    assert cert.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:nodes"
    assert names(cert) == {"n2", "172.18.0.12", "fd00:172:18::12"}
    assert names(load(PKI.nodes["n1"])) == {"n1", "172.18.0.11"}


def test_client_certificates_are_no_server_certificates() -> None:
    usage = load(PKI.proxy).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_certificates_verify_against_their_own_authority_only() -> None:
    authority = load(PKI.ca)
    load(PKI.api_server).verify_directly_issued_by(authority)
    assert load(PKI.etcd_server).issuer != authority.subject


def test_kubeconfig_embeds_the_credentials_of_its_role() -> None:
    document = yamlio.loads(kubeconfig("https://127.0.0.1:1", PKI.ca.cert, "me", PKI.admin, cluster="cnilab-x"))
    assert document["current-context"] == "cnilab-x"
    assert base64.b64decode(document["users"][0]["user"]["client-key-data"]).decode() == PKI.admin.key
    assert document["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:1"
