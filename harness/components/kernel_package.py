"""Another kernel for labs: the distribution's, unpacked from its package and never installed.

<cache>/kernels/<name>/<release>/vmlinuz
<cache>/kernels/<name>/<release>/modules/<release>/   what is /lib/modules where it runs
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from harness import timeouts
from harness.components.apt import Apt, heartbeat
from harness.components.lock import architecture
from harness.components.resolver import Resolver
from harness.components.tools import offline
from harness.errors import PreflightError

PACKAGES = {"debian": "linux-image-cloud-{arch}"}
"""Name of a kernel to the package that depends on its newest version."""


@dataclass(frozen=True)
class Kernel:
    """A kernel that can be booted.

    Args:
        name: As in a spec.
        release: As `uname -r` says.
        image: Its image.
        modules: A directory that can be mounted at /lib/modules.
    """

    name: str
    release: str
    image: Path
    modules: Path


def cached(store: Resolver, name: str) -> Kernel | None:
    """The newest one that is in the cache."""
    folder = store.cache / "kernels" / name
    releases = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime) if folder.is_dir() else []
    return _kernel(name, releases[-1]) if releases else None


def deliver(store: Resolver, name: str) -> Kernel:
    """A kernel from the cache; else from the distribution's package.

    Raises:
        PreflightError: It is not available; says why.
    """
    found = cached(store, name)
    if found is not None:
        return found
    with store.exclusive(f"kernel-{name}") as scratch:
        return cached(store, name) or _unpack(store, name, scratch)


def _kernel(name: str, place: Path) -> Kernel:
    return Kernel(name, place.name, place / "vmlinuz", place / "modules")


def _unpack(store: Resolver, name: str, scratch: Path) -> Kernel:
    package = PACKAGES[name].format(arch=architecture())
    if offline() or not Apt.present():
        msg = f"the kernel '{name}' is not in the cache and cannot be downloaded"
        cause = "CNILAB_OFFLINE=1 forbids downloads" if offline() else "no apt-get: not a Debian or Ubuntu machine"
        raise PreflightError(msg, cause=cause, next_step=f"use a machine with apt and a network: package {package}")
    store.tools.need("depmod")
    apt = Apt(store.runner)
    # The package that always depends on the newest kernel has nothing in it but that.
    depends = _field(store, _download(store, apt, package, scratch / "newest"), "Depends")
    image = next(word for word in depends.replace(",", " ").split() if word.startswith("linux-image-"))
    archive = _download(store, apt, image, scratch / "image")
    root = scratch / "root"
    store.runner.run(["dpkg-deb", "-x", archive, root], timeout=timeouts.DOWNLOAD)
    release = image.removeprefix("linux-image-")
    modules = next(path for path in (root / "lib/modules", root / "usr/lib/modules") if path.is_dir())
    made = scratch / "made"
    made.mkdir()
    shutil.copy2(root / "boot" / f"vmlinuz-{release}", made / "vmlinuz")
    modules.rename(made / "modules")
    # depmod wants the tree below lib/modules of a root.
    (scratch / "depmod/lib").mkdir(parents=True)
    (scratch / "depmod/lib/modules").symlink_to(made / "modules")
    store.runner.run(["depmod", "-b", scratch / "depmod", release], timeout=timeouts.DOWNLOAD)
    place = store.cache / "kernels" / name / release
    store.publish(made, place)
    return _kernel(name, place)


def _download(store: Resolver, apt: Apt, package: str, folder: Path) -> Path:
    folder.mkdir()
    with heartbeat(lambda text: store.journal.note("components.kernel", text), f"downloading package {package}"):
        done = apt.download(package, folder)
    archives = sorted(folder.glob("*.deb"))
    if not done.ok or not archives:
        msg = f"the package {package} cannot be downloaded"
        raise PreflightError(msg, cause=done.tail(2), next_step="run 'apt-get update' and look at its errors")
    return archives[0]


def _field(store: Resolver, archive: Path, name: str) -> str:
    return store.runner.run(["dpkg-deb", "-f", archive, name]).stdout
