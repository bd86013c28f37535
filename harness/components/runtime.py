"""A containerd root directory with images imported and unpacked: made once, cloned by every node.

Importing and unpacking a few hundred megabytes on every node of every lab would cost seconds and disk. One containerd
does it into a directory of the cache; a node clones that with hard links, which takes milliseconds. Layers are only
ever the lower side of an overlay, so nobody writes through a hard link; containerd's databases (`*.db`) are rewritten
in place and must be copied.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import timeouts
from harness.components import daemon, images
from harness.components.resolver import Resolver
from harness.errors import PreflightError

SNAPSHOTTER = "overlayfs"

FORMAT = 2
"""Counts changes of the way in which the directory is made. Those of format 1 had the caller's umask in them."""


def containerd_root(store: Resolver, names: Iterable[str]) -> Path:
    """Make the directory, if it is not in the cache yet.

    Args:
        store: Delivers containerd and the image archives.
        names: Images, as of `images.archives`.

    Returns:
        A directory to be used as containerd's `root`: clone it, hard links for everything but `*.db`.

    Raises:
        PreflightError: Not root, or containerd does not start.
    """
    wanted = tuple(names)
    containerd = store.ensure(["containerd", *images.components(store, wanted)])["containerd"]
    archives = images.archives(store, wanted)
    text = f"{FORMAT} {containerd.digest} {SNAPSHOTTER} " + " ".join(sorted(map(images.image_digest, archives)))
    place = store.cache / "containerd-root" / hashlib.sha256(text.encode()).hexdigest()[:16]
    if place.is_dir():
        place.touch()
        return place
    if os.geteuid() != 0:
        msg = "preparing images for containerd needs root: it mounts their layers"
        raise PreflightError(msg, next_step="run cnilab as root")
    with (
        store.journal.step("components.images", f"unpacking {len(archives)} images"),
        store.exclusive(f"root-{place.name}") as scratch,
    ):
        if not place.is_dir():
            root = scratch / "root"
            root.mkdir()
            with daemon.private(store, containerd.directory, root, scratch / "containerd.log") as ctr:
                _import(store, ctr, archives)
            for leftover in ("opt", "tmpmounts"):
                shutil.rmtree(root / leftover, ignore_errors=True)
            store.publish(root, place)
    store.forget_old(place.parent)
    return place


def _import(store: Resolver, ctr: tuple[str, ...], archives: list[Path]) -> None:
    # Two at a time, but for archives that are not of our making: of two that containerd's own client wrote, whose index
    # comes last, containerd 2.4 was seen to read nothing of one ("failed to ingest index.json: short read").
    ours = all(archive.is_relative_to(store.cache / "images") for archive in archives)
    with ThreadPoolExecutor(2 if ours else 1, thread_name_prefix="import") as pool:
        jobs = [
            pool.submit(
                store.runner.run,
                (*ctr, "images", "import", "--snapshotter", SNAPSHOTTER, archive),
                timeout=timeouts.ROLLOUT,
            )
            for archive in archives
        ]
        for job in jobs:
            job.result()
