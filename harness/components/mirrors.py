"""Where images of a registry come from instead: `--registry-mirror HOST=URL`, as containerd is told. Pure."""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from collections.abc import Iterable, Mapping

from harness.errors import UsageError

VARIABLE = "CNILAB_REGISTRY_MIRROR"
"""Has what the option says, separated by blanks, for a program of ours that is started in a virtual machine."""

CLEAR = "CNILAB_CLEAR_MIRRORS"
"""1: a mirror on another machine may speak http, too. Nothing then keeps others on the way from changing an image."""

_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?")
_NAMES = {"docker.io": "registry-1.docker.io"}
"""Registries whose names in references are not those of their hosts."""


def parse(words: Iterable[str], *, clear: bool = False) -> dict[str, str]:
    """URLs by the registries that they stand for.

    Args:
        words: Each HOST=URL.
        clear: http is allowed on other machines than this one.

    Raises:
        UsageError: One is something else, or would send images in the clear.
    """
    found: dict[str, str] = {}
    for word in words:
        host, _, url = word.partition("=")
        parts = urllib.parse.urlsplit(url)
        if not _HOST.fullmatch(host) or not _is_place(parts) or '"' in url or "\\" in url:
            msg = f"--registry-mirror {word[:100]!r}"
            raise UsageError(
                msg,
                cause="the form is HOST=URL: the registry in the names of images, and the mirror to pull from",
                next_step="example: --registry-mirror quay.io=https://mirror.example.org",
            )
        if parts.scheme == "http" and not clear and not _loopback(parts.hostname or ""):
            msg = f"--registry-mirror {word[:100]!r}: images would be pulled without TLS"
            step = f"give an https:// URL, or set {CLEAR}=1 if you trust the network to it"
            raise UsageError(msg, cause="http is only allowed for this machine's loopback", next_step=step)
        found[host] = url.rstrip("/")
    return found


def _is_place(parts: urllib.parse.SplitResult) -> bool:
    """Scheme, host, perhaps a port and a path; and nothing else."""
    try:
        host, _ = parts.hostname, parts.port
    except ValueError:  # of the port
        return False
    return bool(host) and parts.scheme in {"http", "https"} and not (parts.query or parts.fragment or parts.username)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def words(mirrors: Mapping[str, str]) -> list[str]:
    """What `parse` was given."""
    return [f"{host}={url}" for host, url in mirrors.items()]


def registry(reference: str) -> str:
    """`quay.io` of `quay.io/cilium/cilium:v1.19.4`."""
    return reference.partition("/")[0]


def source(reference: str, mirrors: Mapping[str, str]) -> str:
    """The URL that an image comes from."""
    host = registry(reference)
    return mirrors.get(host) or f"https://{_NAMES.get(host, host)}"


def hosts(url: str) -> str:
    """A mirror as containerd's hosts.toml: it stands for the registry, which is not asked any more."""
    path = urllib.parse.urlsplit(url).path
    return f'server = "{url}"\n' + ("override_path = true\n" if path else "")
