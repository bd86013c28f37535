"""Any kubeconfig is read, and one that makes no sense is an error that says so."""

from __future__ import annotations

import base64
import os
import ssl
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import yamlio
from harness.cluster import pki
from harness.cluster.access import heard
from harness.cluster.contexts import load
from harness.errors import UsageError


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def write(tmp_path: Path, user: dict[str, Any] | None = None, **changes: Any) -> Path:
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "prod", "cluster": {"server": "https://k8s.example:6443/"}}],
        "users": [{"name": "alice", "user": user if user is not None else {"token": "t0ps3cret"}}],
        "contexts": [
            {"name": "prod", "context": {"cluster": "prod", "user": "alice", "namespace": "team-a"}},
            {"name": "staging", "context": {"cluster": "gone", "user": "alice"}},
            {"name": "nobody", "context": {"cluster": "prod", "user": "bob"}},
        ],
        "current-context": "prod",
    } | changes
    path = tmp_path / "config"
    path.write_text(yamlio.dumps(document))
    return path


def test_the_current_context_is_taken_unless_another_is_named(tmp_path: Path) -> None:
    found = load(write(tmp_path))
    assert (found.context, found.server, found.namespace, found.user) == (
        "prod", "https://k8s.example:6443", "team-a", "alice",
    )  # fmt: skip
    assert found.headers == {"Authorization": "Bearer t0ps3cret"}


def test_secrets_do_not_show(tmp_path: Path) -> None:
    assert "t0ps3cret" not in repr(load(write(tmp_path)))


def test_a_certificate_is_used_without_touching_the_disk(tmp_path: Path) -> None:
    made = pki.make_pki({}, ["k8s.example"])
    user = {"client-certificate-data": b64(made.admin.cert), "client-key-data": b64(made.admin.key)}
    cluster = {"server": "https://k8s.example", "certificate-authority-data": b64(made.ca.cert)}
    path = write(tmp_path, user, clusters=[{"name": "prod", "cluster": cluster}])
    before = set(Path("/proc/self/fd").iterdir())
    context = load(path).tls()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert [one["subject"] for one in context.get_ca_certs()]
    assert set(Path("/proc/self/fd").iterdir()) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["config"]


def test_a_cluster_is_verified_as_kubectl_does_with_every_python(tmp_path: Path) -> None:
    """Many a cluster has certificates without an Authority Key Identifier, or gives out an authority between."""
    made = pki.make_pki({}, ["k8s.example"])
    cluster = {"server": "https://k8s.example", "certificate-authority-data": b64(made.ca.cert)}
    context = load(write(tmp_path, {"token": "x"}, clusters=[{"name": "prod", "cluster": cluster}])).tls()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN


def test_named_files_are_relative_to_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from a file\n")
    assert load(write(tmp_path, {"tokenFile": "token"})).token == "from a file"


def test_a_plugin_gives_the_credentials(tmp_path: Path) -> None:
    plugin = tmp_path / "login"
    plugin.write_text(
        "#!/bin/sh\n"
        'case "$KUBERNETES_EXEC_INFO" in *ExecCredential*) ;; *) exit 1 ;; esac\n'
        'printf \'{"kind":"ExecCredential","status":{"token":"%s-%s"}}\' "$1" "$REGION"\n'
    )
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    user = {"exec": {"command": "./login", "args": ["now"], "env": [{"name": "REGION", "value": "north"}]}}
    assert load(write(tmp_path, user)).token == "now-north"


def test_another_process_hears_all_of_it(tmp_path: Path) -> None:
    found = load(write(tmp_path, {"username": "a", "password": "b"}))
    assert heard(found.told()) == found
    assert found.headers["Authorization"] == f"Basic {b64('a:b')}"


NO_CONTEXT: dict[str, Any] = {"current-context": ""}

WRONG: dict[str, Callable[[Path], tuple[Path, str]]] = {
    "no-file": lambda path: (path / "nothing", ""),
    "no-yaml": lambda path: (path / "text", ""),
    "no-kubeconfig": lambda path: (path / "lab.yaml", ""),
    "no-such-context": lambda path: (write(path), "prood"),
    "no-current-context": lambda path: (write(path, None, **NO_CONTEXT), ""),
    "cluster-missing": lambda path: (write(path), "staging"),
    "user-missing": lambda path: (write(path), "nobody"),
    "bad-base64": lambda path: (write(path, {"client-certificate-data": "%%%"}), ""),
    "auth-provider": lambda path: (write(path, {"auth-provider": {"name": "gcp"}}), ""),
    "plugin-missing": lambda path: (write(path, {"exec": {"command": "no-such-plugin", "installHint": "get it"}}), ""),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_a_kubeconfig_is_said(name: str, tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    (tmp_path / "text").write_text("a: [b\n")
    (tmp_path / "lab.yaml").write_text("kind: Lab\n")
    path, context = WRONG[name](tmp_path)
    with pytest.raises(UsageError) as caught:
        load(path, context)
    assert caught.value.next_step
    golden(f"existing/kubeconfig/{name}.txt", f"{caught.value}\n".replace(os.fspath(tmp_path), "/home/me"))
