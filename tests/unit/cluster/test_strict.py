"""Every certificate of a lab is good for a client that keeps RFC 5280 to the letter, as Python 3.13 and later."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from harness.cluster import plan
from harness.cluster.node_config import MachineFacts
from harness.cluster.pki import ClusterPki, Pair, make_pki
from harness.model.spec import LabSpec
from tests.unit.cluster import handshake

SPEC = LabSpec(name="strict", cni="flannel", nodes=2)
PKI = make_pki({name: SPEC.all_addresses(name) for name in SPEC.node_names}, plan.api_names(SPEC))

SERVERS = {
    "api_server": "kubernetes.default.svc.cluster.local",
    "etcd_server": "127.0.0.1",
    "controller_manager": "localhost",
    "scheduler": "127.0.0.1",
    "nodes.n1": "n1",
    "nodes.n2": str(SPEC.node_address("n2")),
}
"""Who answers somebody, and under which name."""

AUTHORITIES = {"ca", "etcd_ca", "front_proxy_ca"}
OTHERS = {"etcd_server": "etcd_ca", "etcd_client": "etcd_ca", "front_proxy_client": "front_proxy_ca"}
"""Whose authority is not the cluster's."""


def certificates(pki: ClusterPki) -> dict[str, Pair]:
    """All certificates of a cluster by field, `nodes.NAME` for each of the nodes; the key of tokens has none."""
    found: dict[str, Pair] = {}
    for one in fields(pki):
        value = getattr(pki, one.name)
        several = value if isinstance(value, dict) else {"": value}
        for name, pair in several.items():
            found[f"{one.name}.{name}".rstrip(".")] = pair if isinstance(pair, Pair) else Pair(pair, "")
    return {name: pair for name, pair in found.items() if "BEGIN CERTIFICATE" in pair.cert}


ALL = certificates(PKI)
LEAVES = sorted(ALL.keys() - AUTHORITIES)


def load(name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(ALL[name].cert.encode())


def authority(name: str) -> Pair:
    return ALL[OTHERS.get(name, "ca")]


def write(folder: Path, **certificates: str) -> None:
    for name, text in certificates.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="ascii")


def verify(folder: Path, purpose: str, *more: str) -> subprocess.CompletedProcess[str]:
    command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", "ca.crt", *more, "leaf.crt"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl(1) is not on this machine")


def test_all_certificates_of_a_cluster_are_looked_at_here() -> None:
    assert {*AUTHORITIES, *SERVERS, *OTHERS} <= ALL.keys()
    kept = {text for file in _files() if "BEGIN CERTIFICATE" in (text := file)}
    assert kept <= {pair.cert for pair in ALL.values()}


def _files() -> Iterator[str]:
    for machine in plan.machines(SPEC, PKI, MachineFacts()):
        yield from (file.content for file in machine.files.values() if file.content.startswith("-----BEGIN"))


@needs_openssl
@pytest.mark.parametrize("name", LEAVES)
def test_openssl_finds_nothing_against_rfc_5280(name: str, tmp_path: Path) -> None:
    write(tmp_path, ca_crt=authority(name).cert, leaf_crt=ALL[name].cert)
    for purpose in ("sslclient", *(("sslserver",) if name in SERVERS else ())):
        done = verify(tmp_path, purpose)
        assert done.returncode == 0, done.stderr
    if name not in SERVERS:
        assert "unsuitable certificate purpose" in verify(tmp_path, "sslserver").stderr


@needs_openssl
@pytest.mark.parametrize("name", sorted(AUTHORITIES))
def test_openssl_finds_nothing_against_an_authority(name: str, tmp_path: Path) -> None:
    write(tmp_path, ca_crt=ALL[name].cert, leaf_crt=ALL[name].cert)
    done = verify(tmp_path, "crlsign")
    assert done.returncode == 0, done.stderr


@needs_openssl
@pytest.mark.parametrize("name", LEAVES)
def test_a_clock_that_is_minutes_behind_or_ahead_matters_to_nobody(name: str, tmp_path: Path) -> None:
    write(tmp_path, ca_crt=authority(name).cert, leaf_crt=ALL[name].cert)
    for minutes in (-5, -1, 1, 60):
        done = verify(tmp_path, "sslclient", "-attime", str(int(time.time()) + 60 * minutes))
        assert done.returncode == 0, done.stderr
    assert "not yet valid" in verify(tmp_path, "sslclient", "-attime", str(int(time.time()) - 3600)).stderr


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_certificate_says_all_that_rfc_5280_wants(name: str) -> None:
    cert, is_authority = load(name), name in AUTHORITIES
    extensions = {extension.oid: extension for extension in cert.extensions}
    constraints = cert.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = cert.extensions.get_extension_for_class(x509.KeyUsage)
    assert constraints.critical
    assert usage.critical
    assert constraints.value.ca is is_authority
    assert usage.value.key_cert_sign is usage.value.crl_sign is is_authority
    assert usage.value.digital_signature is not is_authority
    assert not usage.value.key_encipherment, "a key for ECDSA enciphers nothing"
    # RFC 5280, 4.2.1.1 and 4.2.1.2: each names its own key, and the key of its issuer.
    own = cert.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert own == x509.SubjectKeyIdentifier.from_public_key(cert.public_key())
    issuer = x509.load_pem_x509_certificate(authority(name).cert.encode()) if not is_authority else cert
    theirs = cert.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert theirs.key_identifier == issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    cert.verify_directly_issued_by(issuer)
    assert (x509.SubjectAlternativeName.oid in extensions) is (name in SERVERS)
    assert cert.subject
    assert cert.issuer
    assert issuer.not_valid_before_utc <= cert.not_valid_before_utc
    assert cert.not_valid_after_utc <= issuer.not_valid_after_utc


def test_no_two_certificates_have_the_same_serial_number() -> None:
    numbers = [load(name).serial_number for name in ALL]
    assert len(set(numbers)) == len(numbers)
    assert all(0 < number < 2**159 for number in numbers), "positive, at most 20 octets (RFC 5280, 4.1.2.2)"


def greeting(folder: Path, name: str) -> str:
    """Write down a server and a client of its authority; returns the name to call it by."""
    server, client = ALL[name], ALL["etcd_client" if name == "etcd_server" else "admin"]
    write(folder, ca_crt=authority(name).cert, server_crt=server.cert, server_key=server.key)
    write(folder, client_crt=client.cert, client_key=client.key)
    return SERVERS[name]


@pytest.mark.parametrize("name", sorted(SERVERS))
def test_a_strict_handshake_with_every_server(name: str, tmp_path: Path) -> None:
    assert not handshake.shake(tmp_path, greeting(tmp_path, name))


@pytest.mark.parametrize("name", [name for name in LEAVES if name not in SERVERS])
def test_every_client_is_taken_by_a_strict_server(name: str, tmp_path: Path) -> None:
    # A server of the same authority: of the front proxy's there is none, the API server only believes its clients.
    greeting(tmp_path, "etcd_server" if OTHERS.get(name) == "etcd_ca" else "api_server")
    write(tmp_path, client_crt=ALL[name].cert, client_key=ALL[name].key)
    if OTHERS.get(name) == "front_proxy_ca":
        both = ALL["ca"].cert + ALL["front_proxy_ca"].cert
        write(tmp_path, ca_crt=both)
    assert not handshake.shake(tmp_path, "kubernetes" if OTHERS.get(name) != "etcd_ca" else "localhost")


def test_a_certificate_that_does_not_name_its_issuers_key_is_refused(tmp_path: Path) -> None:
    """As all were once: this is what the handshake is to notice."""
    called = greeting(tmp_path, "api_server")
    key = serialization.load_pem_private_key(ALL["ca"].key.encode(), None)
    bare = x509.CertificateBuilder()
    cert = load("api_server")
    bare = bare.subject_name(cert.subject).issuer_name(cert.issuer).public_key(cert.public_key())
    bare = bare.serial_number(1).not_valid_before(cert.not_valid_before_utc).not_valid_after(cert.not_valid_after_utc)
    for extension in cert.extensions:
        if extension.oid != x509.AuthorityKeyIdentifier.oid:
            bare = bare.add_extension(extension.value, extension.critical)
    signed = bare.sign(key, hashes.SHA256())  # type: ignore[arg-type]
    write(tmp_path, server_crt=signed.public_bytes(serialization.Encoding.PEM).decode())
    assert "Missing Authority Key Identifier" in handshake.shake(tmp_path, called)


def strict_pythons() -> dict[str, str]:
    """Interpreters of this machine that are strict by themselves, by version: on PATH, or of pyenv."""
    found: dict[str, str] = {}
    for version in ("3.13", "3.14"):
        of_pyenv = sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(f"versions/{version}*/bin"))
        for folder in (*os.environ.get("PATH", "").split(os.pathsep), *map(str, of_pyenv)):
            program = Path(folder or ".", f"python{version}")
            # A shim of pyenv answers only where its version is chosen.
            if program.is_file() and _version(program) == version:
                found[version] = str(program)
                break
    return found


def _version(program: Path) -> str:
    words = [str(program), "-I", "-S", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip()


@pytest.mark.parametrize("version", ["3.13", "3.14"])
def test_the_standard_library_of_a_strict_python_is_content(version: str, tmp_path: Path) -> None:
    program = strict_pythons().get(version)
    if program is None:
        pytest.skip(f"no Python {version} on this machine: neither python{version} on PATH nor one of pyenv")
    for name in SERVERS:
        called = greeting(tmp_path, name)
        words = [program, "-I", "-S", handshake.__file__, str(tmp_path), called]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.startswith(version)


def test_python_itself_is_strict_from_3_13_on() -> None:
    import ssl  # noqa: PLC0415 - of this interpreter, to say what the others rely on

    strict = bool(ssl.create_default_context().verify_flags & ssl.VERIFY_X509_STRICT)
    assert strict is (sys.version_info >= (3, 13))
