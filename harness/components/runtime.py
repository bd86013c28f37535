"""A containerd root directory with images imported and unpacked: made once, cloned by every node.

Importing and unpacking a few hundred megabytes on every node of every lab would cost seconds and disk. One containerd
does it into a directory of the cache; a node clones that with hard links, which takes milliseconds. Layers are only
ever the lower side of an overlay, so nobody writes through a hard link; containerd's databases (`*.db`) are rewritten
in place and must be copied.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from harness import apart, timeouts
from harness.components import images
from harness.components.resolver import Resolver
from harness.errors import NotYetError, PreflightError
from harness.runner import stop

NAMESPACE = "k8s.io"
"""containerd's namespace for everything that belongs to Kubernetes."""

SNAPSHOTTER = "overlayfs"

FORMAT = 2
"""Counts changes of the way in which the directory is made. Those of format 1 had the caller's umask in them."""

_PLACES = ("/run", "/mnt")
"""Where containerd may have all that is its own: a file system that only it sees. The cache is not below both.

The cache may have any name. Here it has a short one, without the commas and colons that mean something in the options
of a mount, and the socket's path fits (unix(7): 107 bytes).
"""

_APART = """\
set -e
mount -t tmpfs -o mode=0755 tmpfs "$1"
mkdir "$1/root" "$1/scratch"
mount --bind "$2" "$1/root"
exec "$3" --config "$4"
"""

_DISABLED = (
    # No pods here, and these reach for directories and devices of the machine when they start.
    "io.containerd.grpc.v1.cri",
    "io.containerd.cri.v1.images",
    "io.containerd.cri.v1.runtime",
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.restart",
    "io.containerd.internal.v1.tracing",
    "io.containerd.nri.v1.nri",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.erofs",
    "io.containerd.snapshotter.v1.native",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.tracing.processor.v1.otlp",
)


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
        msg = "preparing images for containerd takes root: it mounts their layers"
        raise PreflightError(msg, next_step="run cnilab as root")
    with (
        store.journal.step("components.images", f"unpacking {len(archives)} images"),
        store.exclusive(f"root-{place.name}") as scratch,
    ):
        if not place.is_dir():
            root = scratch / "root"
            root.mkdir()
            with _containerd(store, containerd.directory, root, scratch / "containerd.log") as ctr:
                _import(store, ctr, archives)
            for leftover in ("opt", "tmpmounts"):
                shutil.rmtree(root / leftover, ignore_errors=True)
            store.publish(root, place)
    store.forget_old(place.parent)
    return place


def _import(store: Resolver, ctr: tuple[str, ...], archives: list[Path]) -> None:
    with ThreadPoolExecutor(2, thread_name_prefix="import") as pool:
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


@contextmanager
def _containerd(store: Resolver, programs: Path, root: Path, log: Path) -> Iterator[tuple[str, ...]]:
    """Run a containerd that nobody else sees, in a mount namespace of its own.

    Yields:
        The start of a ctr command line that reaches it.
    """
    config = log.with_name("config.toml")
    place = next(one for one in _PLACES if not root.resolve().is_relative_to(one))
    config.write_text(_config(place), encoding="utf-8")
    with log.open("wb") as out:
        # Mounts made while unpacking never show on the machine, and containerd does not outlive this process.
        isolation = ("setpriv", "--pdeathsig", "KILL", *apart.words())
        argv: list[str | Path] = [
            *isolation,
            "/bin/sh",
            "-c",
            _APART,
            "sh",
            place,
            root,
            programs / "containerd",
            config,
        ]
        process = store.runner.start(argv, stdout=out, stderr=out, env={"TMPDIR": f"{place}/scratch"})
        # Every word of the vector becomes the next one, so that the process is containerd in the end.
        socket = Path(f"/proc/{process.pid}/root{place}/s")
        ctr = (str(programs / "ctr"), "--address", str(socket), "--namespace", NAMESPACE)

        def answers() -> bool:
            if process.poll() is not None:
                msg = "containerd ended at once"
                cause = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
                raise PreflightError(msg, cause=cause)
            if not socket.exists():
                msg = "containerd has not made its socket"
                raise NotYetError(msg, where=str(socket), log=str(log))
            done = store.runner.run((*ctr, "version"), check=False)
            if not done.ok:
                msg = "ctr version failed"
                raise NotYetError(msg, cause=done.tail(), where=done.command, log=str(log))
            return True

        try:
            timeouts.wait_until("containerd to answer", answers, timeouts.COMMAND)
            yield ctr
        finally:
            stop(process)


def _config(place: str) -> str:
    return (
        "version = 2\n"
        f'root = "{place}/root"\n'
        f'state = "{place}/state"\n'
        f"disabled_plugins = {json.dumps(list(_DISABLED))}\n"
        f'[grpc]\n  address = "{place}/s"\n'
    )
