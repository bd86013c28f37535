"""A Go of the project's own, where the machine has none or one that is too old.

It comes from where the go command itself takes newer toolchains from: Go's module proxy, as the module
golang.org/toolchain (https://go.dev/doc/toolchain). What comes is checked against the sum in components.lock, which is
that of Go's database of sums: over the content of every file (golang.org/x/mod/sumdb/dirhash, Hash1). Nothing is
installed; it lies in the cache, and nothing but builds sees it:

    <cache>/go/<version>-<architecture>/bin/go
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

from harness.components.lock import GoPin, Lock, architecture
from harness.components.sources.base import Desk, Refused
from harness.components.sources.download import NETWORK_ERRORS, BadDownloadError, download
from harness.components.tools import offline

PROXY: Final = "https://proxy.golang.org"
"""Where Go's modules come from, unless GOPROXY says otherwise."""

MODULE: Final = "golang.org/toolchain"

_PROGRAMS: Final = ("bin/", "pkg/tool/")
"""What is executable: a module's archive has no modes."""

_DAMAGED: Final = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
"""What `zipfile` raises for an archive that is cut off, damaged, of another method of compression, or encrypted."""

_RENAMED: Final = ("src/_go.mod", "src/go.mod")
"""No module has another one's go.mod in it, so that the standard library's has another name on the way."""


class Cache(Protocol):
    """What is needed of the cache of components."""

    cache: Path
    lock: Lock

    @property
    def exclusive(self) -> Callable[..., AbstractContextManager[Path]]:
        """See `Resolver.exclusive`."""

    @property
    def publish(self) -> Callable[[Path, Path], None]:
        """See `Resolver.publish`."""


def proxies() -> list[str]:
    """Addresses of Go's module proxies that can be asked without Go, in order, as GOPROXY lists them."""
    words = re.split("[,|]", os.environ.get("GOPROXY") or PROXY)
    return [word.strip().rstrip("/") for word in words if _usable(word.strip())]


def _usable(proxy: str) -> bool:
    # What has a password in it is Go's to send: here it would end up in messages.
    try:
        parts = urllib.parse.urlsplit(proxy)
    except ValueError:
        return False  # Go says what is wrong with it, where there is one
    return parts.scheme in {"https", "http", "file"} and "@" not in parts.netloc


def obstacle(pinned: GoPin | None) -> str:
    """Why this machine cannot even try to fetch one; empty when it can.

    Args:
        pinned: What the lock says.
    """
    if pinned is None or not pinned.sum:
        return f"no Go for {architecture()} is pinned"
    if offline():
        return "CNILAB_OFFLINE=1 does not allow a download"
    return "" if proxies() else "GOPROXY names no proxy that works without Go"


def place(cache: Path, pinned: GoPin) -> Path:
    """Where it is, or will be, in the cache."""
    return cache / "go" / f"{pinned.version}-{architecture()}"


def module(pinned: GoPin) -> str:
    """The module that it comes as, with its version: every name in the module's archive begins with that."""
    return f"{MODULE}@v0.0.1-go{pinned.version}.linux-{architecture()}"


def variables(cache: Path, pinned: GoPin | None) -> dict[str, str]:
    """What leads programs to the one in the cache, if it is there."""
    folder = place(cache, pinned) / "bin" if pinned else None
    return {"PATH": f"{folder}:{os.environ.get('PATH', os.defpath)}"} if folder and folder.is_dir() else {}


def deliver(store: Cache, desk: Desk) -> Refused | None:
    """Put it into the cache, unless it is there already; or say why that is impossible.

    Args:
        store: The cache; its lock says which one.
        desk: Told how far it is.

    Raises:
        CancelledError: The work was cancelled.
        PreflightError: The cache cannot be written.
    """
    pinned = store.lock.go
    target = place(store.cache, pinned) if pinned else None
    if target and target.is_dir():
        return None
    reason = obstacle(pinned)
    if reason or pinned is None or target is None:
        return Refused(reason)
    reasons = []
    with store.exclusive(f"go-{pinned.version}", desk.say, desk.cancelled) as scratch:
        if target.is_dir():
            return None
        for number, proxy in enumerate(proxies()):
            made = scratch / f"{number}"
            reason = _fetch(proxy, pinned, made, desk)
            if not reason:
                store.publish(made / "go", target)
                return None
            reasons.append(reason)
    return Refused("; ".join(reasons))


def _fetch(proxy: str, pinned: GoPin, made: Path, desk: Desk) -> str:
    """Fetch and unpack into a directory of its own; why it is not to be had there, or nothing."""
    path, _, version = module(pinned).partition("@")
    url = f"{proxy}/{path}/@v/{version}.zip"
    made.mkdir()
    desk.say(f"Go {pinned.version} is downloaded: this machine has no suitable Go")
    try:
        download(url, made / "go.zip", desk)
        found = unpack(made / "go.zip", module(pinned), made / "go")
    except (BadDownloadError, *NETWORK_ERRORS, *_DAMAGED) as error:
        return f"{url}: {error}"
    return "" if found == pinned.sum else f"{url} has the sum {found}, but components.lock says {pinned.sum}"


def unpack(archive: Path, module: str, target: Path) -> str:
    """Unpack a module's archive, and return its sum, `h1:` and SHA-256 in base 64: whoever uses it compares that first.

    Args:
        archive: As a module proxy has it.
        module: Path and version, which every name in it begins with.
        target: Directory to be made.

    Raises:
        BadDownloadError: A name in it leads elsewhere.
        zipfile.BadZipFile: It is no archive; what else `zipfile` raises for one that is damaged.
    """
    lines = []
    with zipfile.ZipFile(archive) as files:
        for name in sorted(files.namelist()):
            relative = name.removeprefix(f"{module}/")
            if relative == name or ".." in PurePosixPath(name).parts or relative.startswith("/"):
                msg = f"the archive has a file {name!r}, which is not the module's"
                raise BadDownloadError(msg)
            path = target / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            content = files.read(name)
            path.write_bytes(content)
            path.chmod(0o755 if relative.startswith(_PROGRAMS) else 0o644)
            lines.append(_line(content, name))
    renamed, its_own = (target / name for name in _RENAMED)
    if renamed.is_file():
        shutil.copyfile(renamed, its_own)
    return _sum(lines)


def sum_of(unpacked: Path, module: str) -> str:
    """The sum of a module again, from what `unpack` made of its archive.

    Args:
        unpacked: The directory.
        module: Path and version.
    """
    renamed, its_own = (unpacked / name for name in _RENAMED)
    paths = {f"{module}/{path.relative_to(unpacked)}": path for path in unpacked.rglob("*") if path.is_file()}
    if renamed.is_file() and its_own.is_file() and its_own.read_bytes() == renamed.read_bytes():
        del paths[f"{module}/{its_own.relative_to(unpacked)}"]
    return _sum([_line(paths[name].read_bytes(), name) for name in sorted(paths)])


def _line(content: bytes, name: str) -> str:
    return f"{hashlib.sha256(content).hexdigest()}  {name}\n"


def _sum(lines: Iterable[str]) -> str:
    return f"h1:{base64.b64encode(hashlib.sha256(''.join(lines).encode()).digest()).decode()}"
