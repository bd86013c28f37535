"""Somebody else's kubeconfig: the cluster and the user that a context names.

A kubeconfig of a lab of ours is read by `harness.cluster.kube`. This module reads any: embedded or named certificates,
tokens, exec plugins (client-go credential plugins, KEP-541), a proxy (variables may name it, too), another server name.
"""

from __future__ import annotations

import base64
import difflib
import json
import os
import re
import shlex
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from harness import yamlio
from harness.cluster import http_proxy
from harness.cluster.access import Access
from harness.errors import SpecError, UsageError
from harness.runner import CommandError, HostRunner

LARGEST: Final = 16 * 1024 * 1024
"""Bytes of a kubeconfig; hundreds of clusters with their certificates fit."""

MOST: Final = 200_000
"""Values in it."""

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
        raise UsageError(msg, cause=_listed(contexts), where=str(path), next_step="choose one with --context")
    if chosen not in contexts:
        near = difflib.get_close_matches(chosen, contexts, n=1)
        msg = f"there is no context '{chosen}'"
        hint = f"did you mean --context {near[0]}?" if near else "choose one of these with --context"
        raise UsageError(msg, cause=_listed(contexts), where=str(path), next_step=hint)
    facts = contexts[chosen]
    cluster = _entry(document, "clusters", "cluster", str(facts.get("cluster") or ""), path)
    name = str(facts.get("user") or "")
    user = _entry(document, "users", "user", name, path) if name else {}
    server = str(cluster.get("server") or "").rstrip("/")
    proxy = str(cluster.get("proxy-url") or "")
    for what, url in (("server", server), ("proxy-url", proxy)):
        if (url or what == "server") and (wrong := _no_url(url)):
            msg = f"the cluster of context '{chosen}' has no {what}" + (" that can be used" if url else "")
            raise UsageError(
                msg,
                cause=wrong if url else "",
                where=str(path),
                next_step=f"kubectl --kubeconfig {shlex.quote(str(path))} config view",
            )
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
        proxy=http_proxy.chosen(server, proxy, os.environ),
        **credentials,
    )


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # chosen when it is imported
    """A reader to whom all is text but true, false and nothing, which is all that a kubeconfig has."""


_Loader.yaml_implicit_resolvers = {
    first: kept
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
    if (kept := [one for one in resolvers if one[0] in {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:null"}])
}


def _document(path: Path) -> Mapping[str, Any]:
    try:
        text = yamlio.read_user_text(path, largest=LARGEST, most=MOST)
        document = yamlio.parse_user_text(text, path, _Loader)
    except SpecError as error:
        msg = "the kubeconfig is not valid YAML"
        raise UsageError(msg, cause=error.cause, where=str(path), next_step="kubectl config view") from error
    except UsageError as error:
        msg = "the kubeconfig cannot be read"
        raise UsageError(msg, cause=error.cause, where=str(path), next_step="check --kubeconfig") from error
    if not isinstance(document, dict) or not isinstance(document.get("clusters"), list):
        msg = "the file is not a kubeconfig"
        raise UsageError(msg, cause="it has no list 'clusters'", where=str(path), next_step="check --kubeconfig")
    return document


def _named(document: Mapping[str, Any], plural: str, singular: str) -> dict[str, dict[str, Any]]:
    items = document.get(plural)
    return {
        str(item["name"]): _mapping(item.get(singular))
        for item in (items if isinstance(items, list) else ())
        if isinstance(item, dict) and item.get("name")
    }


def _mapping(value: Any) -> dict[str, Any]:
    """A mapping; empty for anything else, whose parts are then found missing."""
    return value if isinstance(value, dict) else {}


def _entry(document: Mapping[str, Any], plural: str, singular: str, name: str, path: Path) -> dict[str, Any]:
    found = _named(document, plural, singular)
    if name not in found:
        msg = f"the kubeconfig refers to the {singular} '{name}', but does not contain it"
        raise UsageError(
            msg,
            cause=f"{plural}: {', '.join(found) or 'none'}",
            where=str(path),
            next_step=f"kubectl --kubeconfig {shlex.quote(str(path))} config view",
        )
    return found[name]


def _no_url(text: str) -> str:
    """Why a text is no URL of a server; empty when it is one."""
    try:
        parts = urllib.parse.urlsplit(text)
        known = parts.scheme in {"http", "https", "socks5", "socks5h"} and parts.hostname
        # Reading the port is what judges it.
        return "" if known and (parts.port is None or parts.port) else f"'{text[:200]}' is not https://name:port"
    except ValueError as error:
        return f"'{text[:200]}': {error}"


def _listed(contexts: Mapping[str, object]) -> str:
    return f"contexts: {', '.join(contexts) or 'none'}"


def _bytes(entry: Mapping[str, Any], key: str, path: Path) -> bytes:
    """Embedded data, or the content of the file that is named; empty without either."""
    try:
        if entry.get(f"{key}-data"):
            return base64.b64decode(str(entry[f"{key}-data"]), validate=True)
        if entry.get(key):
            return (path.parent / str(entry[key])).read_bytes()
    except (ValueError, OSError) as error:  # what is not base64 is a ValueError, and so is a name with a zero
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
        except (OSError, UnicodeDecodeError) as error:
            msg = "the token file of the kubeconfig cannot be read"
            raise UsageError(msg, cause=str(error), where=str(path), next_step="check tokenFile") from error
    if not re.fullmatch(r"[\x20-\x7e]*", token):
        msg = "the token of the kubeconfig is not valid"
        cause = "it contains characters that are not allowed in a token, usually a line break"
        raise UsageError(msg, cause=cause, where=str(path), next_step="log in again, or fetch a fresh kubeconfig")
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
    command = str(plugin.get("command") or "")
    if "/" in command:  # relative to the kubeconfig, as client-go has it; a bare name is looked up in PATH
        command = str(path.parent / command)
    try:
        environment = {str(item["name"]): str(item.get("value") or "") for item in plugin.get("env") or ()}
        done = HostRunner().run(
            [command, *(str(word) for word in plugin.get("args") or ())],
            timeout=PLUGIN_DEADLINE,
            env={**environment, "KUBERNETES_EXEC_INFO": json.dumps(told)},
        )
        status = json.loads(done.stdout)["status"]
    except (CommandError, ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"the credential plugin '{plugin.get('command')}' gave no credentials"
        said = error.cause or error.what if isinstance(error, CommandError) else f"no ExecCredential: {error}"
        hint = str(plugin.get("installHint") or "").strip() or "run it by hand, or log in again"
        raise UsageError(msg, cause=said, where=str(path), next_step=hint) from error
    return {
        "token": str(status.get("token") or ""),
        "cert": str(status.get("clientCertificateData") or "").encode(),
        "key": str(status.get("clientKeyData") or "").encode(),
    }
