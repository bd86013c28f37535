"""What of the cache can go: what the present lock does not use, and what is made again from the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.components import box, kernel_package, node_image, own, pull, rootfs
from harness.components import entry as entries
from harness.components.kubernetes import versions, with_kubernetes
from harness.components.resolver import Resolver
from harness.components.sources import toolchain

MADE_AGAIN = ("bin", "cni", "images", "containerd-root", "libraries", "boxes", own.FOLDER, pull.FOLDER)
"""Folders of what is made of components, pulled or brought anew."""


def prune(store: Resolver) -> list[Path]:
    """Remove it. Not while a lab is up: it runs it.

    Returns:
        The directories removed.
    """
    removed = [*_unused(store), *(path for kind in MADE_AGAIN for path in sorted((store.cache / kind).glob("*")))]
    for path in removed:
        if path.is_dir():
            entries.remove(path)
        else:
            path.unlink()
    return removed


def _unused(store: Resolver) -> Iterator[Path]:
    """What nothing that is pinned refers to: components, Go, kernels, and the distribution's part of trees."""
    locks = [store.lock, *(with_kubernetes(store.lock, minor) for minor in versions(store.lock))]
    wanted = {store.directory(component) for lock in locks for component in lock.component.values()}
    yield from _others(store, "components/*/*", wanted)
    yield from _others(store, "go/*", {toolchain.place(store.cache, store.lock.go)} if store.lock.go else set())
    kernels = [found for name in kernel_package.PACKAGES if (found := kernel_package.cached(store, name))]
    yield from _others(store, "kernels/*/*", {kernel.image.parent for kernel in kernels})
    trees = {rootfs.place(store.cache, packages) for packages in (box.PACKAGES, node_image.PACKAGES)}
    yield from _others(store, f"{rootfs.FOLDER}/*", trees)


def _others(store: Resolver, pattern: str, wanted: set[Path]) -> Iterator[Path]:
    return (path for path in sorted(store.cache.glob(pattern)) if path not in wanted)
