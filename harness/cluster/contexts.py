"""Somebody else's kubeconfig: the cluster and the user that a context names.

A kubeconfig of a lab of ours is read by `harness.cluster.kube`. This module reads any: embedded or named certificates,
tokens, exec plugins (client-go credential plugins, KEP-541), a proxy, another server name.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from yaml import YAMLError

from harness import yamlio
from harness.cluster.access import Access
from harness.errors import UsageError
from harness.runner import CommandError, HostRunner

PLUGIN_DEADLINE: Final = 15.0
"""Seconds that a credential plugin may take, before scaling."""


def load(path: Path, context: str = "") -> Access:
    """Read a kubeconfig.

    Args:
        path: The file.
        context: Name of a context; empty for the file's current one.

    Raises:
        UsageError: The file, the context, or what it names is missing or makes no sense.
    """
    document = _document(path)
    chosen = context or str(document.get("current-context") or "")
    contexts = _named(document, "contexts", "context")
    if not chosen:
        msg = "the kubeconfig has no current context"
        raise UsageError(msg, cause=_listed(contexts), where=str(path), next_step="name one with --context")
    if chosen not in contexts:
        near = difflib.get_close_matches(chosen, contexts, n=1)
        msg = f"there is no context '{chosen}'"
        hint = f"did you mean --context {near[0]}?" if near else "name one of those with --context"
        raise UsageError(msg, cause=_listed(contexts), where=str(path), next_step=hint)
    facts = contexts[chosen]
    cluster = _entry(document, "clusters", "cluster", str(facts.get("cluster") or ""), path)
    name = str(facts.get("user") or "")
    user = _entry(document, "users", "user", name, path) if name else {}
    server = str(cluster.get("server") or "").rstrip("/")
    if not server.startswith(("https://", "http://")):
        msg = f"the cluster of context '{chosen}' has no server"
        raise UsageError(msg, where=str(path), next_step=f"kubectl --kubeconfig {path} config view")
    credentials = _credentials(user, cluster, path)
    return Access(
        path=path,
        context=chosen,
        server=server,
        namespace=str(facts.get("namespace") or "default"),
        user=name,
        ca=_bytes(cluster, "certificate-authority", path),
        server_name=str(cluster.get("tls-server-name") or ""),
        verify=not cluster.get("insecure-skip-tls-verify"),
        proxy=str(cluster.get("proxy-url") or ""),
        **credentials,
    )


def _document(path: Path) -> Mapping[str, Any]:
    try:
        document = yamlio.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        msg = "the kubeconfig cannot be read"
        cause = (error.strerror if isinstance(error, OSError) else "") or str(error)
        raise UsageError(msg, cause=cause, where=str(path), next_step="check --kubeconfig") from error
    except YAMLError as error:
        msg = "the kubeconfig is not valid YAML"
        raise UsageError(msg, cause=str(error), where=str(path), next_step="kubectl config view") from error
    if not isinstance(document, dict) or not isinstance(document.get("clusters"), list):
        msg = "the file is no kubeconfig"
        raise UsageError(msg, cause="it has no list 'clusters'", where=str(path), next_step="check --kubeconfig")
    return document


def _named(document: Mapping[str, Any], plural: str, singular: str) -> dict[str, dict[str, Any]]:
    return {
        str(item["name"]): item.get(singular) or {}
        for item in document.get(plural) or ()
        if isinstance(item, dict) and item.get("name")
    }


def _entry(document: Mapping[str, Any], plural: str, singular: str, name: str, path: Path) -> dict[str, Any]:
    found = _named(document, plural, singular)
    if name not in found:
        msg = f"the kubeconfig names the {singular} '{name}', and has none of that name"
        raise UsageError(
            msg,
            cause=f"{plural}: {', '.join(found) or 'none'}",
            where=str(path),
            next_step=f"kubectl --kubeconfig {path} config view",
        )
    return found[name]


def _listed(contexts: Mapping[str, object]) -> str:
    return f"contexts: {', '.join(contexts) or 'none'}"


def _bytes(entry: Mapping[str, Any], key: str, path: Path) -> bytes:
    """Embedded data, or the content of the file that is named; empty without either."""
    try:
        if entry.get(f"{key}-data"):
            return base64.b64decode(str(entry[f"{key}-data"]), validate=True)
        if entry.get(key):
            return (path.parent / str(entry[key])).read_bytes()
    except (binascii.Error, OSError) as error:
        msg = f"'{key}' of the kubeconfig cannot be read"
        raise UsageError(
            msg, cause=str(error), where=str(path), next_step="fetch a fresh kubeconfig for this cluster"
        ) from error
    return b""


def _credentials(user: Mapping[str, Any], cluster: Mapping[str, Any], path: Path) -> dict[str, Any]:
    if isinstance(user.get("exec"), dict):
        return _plugin(user["exec"], cluster, path)
    if user.get("auth-provider"):
        msg = "the kubeconfig uses an auth-provider, which Kubernetes 1.26 removed"
        raise UsageError(msg, where=str(path), next_step="use the exec plugin of your cloud instead")
    token = str(user.get("token") or "")
    if user.get("tokenFile"):
        try:
            token = (path.parent / str(user["tokenFile"])).read_text(encoding="utf-8").strip()
        except OSError as error:
            msg = "the token file of the kubeconfig cannot be read"
            raise UsageError(msg, cause=str(error), where=str(path), next_step="check tokenFile") from error
    password = (str(user["username"]), str(user.get("password") or "")) if user.get("username") else None
    return {
        "token": token,
        "password": password,
        "cert": _bytes(user, "client-certificate", path),
        "key": _bytes(user, "client-key", path),
    }


def _plugin(plugin: Mapping[str, Any], cluster: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What a credential plugin says: a token, or a certificate with its key."""
    version = str(plugin.get("apiVersion") or "client.authentication.k8s.io/v1")
    told: dict[str, Any] = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
    if plugin.get("provideClusterInfo"):
        told["spec"]["cluster"] = {key: value for key, value in cluster.items() if key != "extensions"}
    environment = {str(item["name"]): str(item.get("value") or "") for item in plugin.get("env") or ()}
    command = str(plugin.get("command") or "")
    if "/" in command:  # relative to the kubeconfig, as client-go has it; a bare name is looked up in PATH
        command = str(path.parent / command)
    try:
        done = HostRunner().run(
            [command, *(str(word) for word in plugin.get("args") or ())],
            timeout=PLUGIN_DEADLINE,
            env={**environment, "KUBERNETES_EXEC_INFO": json.dumps(told)},
        )
        status = json.loads(done.stdout)["status"]
    except (CommandError, ValueError, KeyError, TypeError) as error:
        msg = f"the credential plugin '{plugin.get('command')}' gave no credentials"
        said = error.cause or error.what if isinstance(error, CommandError) else f"no ExecCredential: {error}"
        hint = str(plugin.get("installHint") or "").strip() or "run it by hand; log in again"
        raise UsageError(msg, cause=said, where=str(path), next_step=hint) from error
    return {
        "token": str(status.get("token") or ""),
        "cert": str(status.get("clientCertificateData") or "").encode(),
        "key": str(status.get("clientKeyData") or "").encode(),
    }
