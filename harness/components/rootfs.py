"""Root file systems that are made on this machine: the distribution's part, and what labs bring to every node.

<cache>/debian/<key>/root   the distribution's part, made by debootstrap
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import timeouts
from harness.components import images, runtime
from harness.components.apt import heartbeat
from harness.components.store import Store, link_or_copy
from harness.errors import PreflightError
from harness.runner import COPY

FOLDER = "debian"
"""Of the cache."""


def suite() -> str:
    """The release of this machine's distribution, which its mirror has."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    return release.get("VERSION_CODENAME", "bookworm")


def stamp(
    store: Store, form: int, packages: Sequence[str], components: Sequence[str], names: Sequence[str], *more: str
) -> str:
    """Kubernetes' version and a digest of all that goes into a tree: `v1.34.4-0123456789ab`.

    Args:
        store: Delivers components.
        form: Counts changes of the way in which the tree is made.
        packages: Of the distribution.
        components: In it, beside the CNI plugins.
        names: Of images in it.
        *more: Whatever else decides.

    Raises:
        PreflightError: A component is not available.
    """
    found = store.ensure([*components, *store.cni_components()])
    digests = [f"{name} {item.digest}" for name, item in sorted(found.items())]
    digests += [images.image_digest(path) for path in images.archives(store, names)]
    text = "\n".join([str(form), suite(), *packages, *digests, *more])
    return f"v{store.lock.component['kubernetes'].pinned}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def grow(store: Store, system: Path, root: Path) -> None:
    """Begin a tree with the distribution's part, by hard links: whoever changes a file in it gives it a new one."""
    store.runner.run([*COPY, "--link", system, root], timeout=timeouts.ROLLOUT)


def load(store: Store, root: Path, names: Sequence[str]) -> None:
    """Give a tree's containerd images, unpacked.

    Raises:
        PreflightError: One is not available.
    """
    containerd = runtime.containerd_root(store, names)
    place = root / "var/lib/containerd"
    place.mkdir(parents=True, exist_ok=True)
    store.runner.run([*COPY, "--link", f"{containerd}/.", place], timeout=timeouts.ROLLOUT)


def place(cache: Path, packages: Sequence[str], release: str = "") -> Path:
    """Where the distribution's part of a tree is, or will be, in the cache.

    Args:
        cache: The cache directory.
        packages: What is in it beside the essential packages.
        release: Of the distribution; by default this machine's.
    """
    text = " ".join(["2", release or suite(), *packages])
    return cache / FOLDER / hashlib.sha256(text.encode()).hexdigest()[:16]


def system(store: Store, packages: Sequence[str], *, what: str, instead: str, release: str = "") -> Path:
    """The distribution's part, in the cache: nobody may write to it, or to a hard link of one of its files.

    Args:
        store: The cache.
        packages: What is in it beside the essential packages.
        what: What it is made for, as an error says it: `the node image's system`.
        instead: What to do where no mirror can be reached.
        release: Of the distribution; by default this machine's.

    Raises:
        PreflightError: debootstrap is missing, or failed.
    """
    release = release or suite()
    target = place(store.cache, packages, release)
    if target.is_dir():
        return target / "root"
    msg = f"{what} cannot be made"
    program = store.tools.need("debootstrap").get("debootstrap")
    if program is None:
        raise PreflightError(msg, cause="debootstrap is missing", next_step="apt-get install debootstrap")
    with (
        store.journal.step("components.debian", f"debootstrap {release}, {len(packages)} packages"),
        store.exclusive(f"debian-{target.name}") as scratch,
    ):
        if not target.is_dir():
            made = scratch / "made"
            made.mkdir()
            words = ("--variant=minbase", f"--include={','.join(packages)}", release, made / "root")
            with heartbeat(lambda text: store.journal.note("components.debian", text), "debootstrap"):
                done = store.runner.run([program, *words], timeout=timeouts.DOWNLOAD, check=False)
            if not done.ok:
                step = f"make a mirror of the distribution reachable, or {instead}"
                raise PreflightError(msg, cause=done.tail(), where=done.command, next_step=step)
            store.publish(made, target)
    return target / "root"


def programs(store: Store, root: Path, places: Mapping[str, str]) -> None:
    """Components in a tree, under all names of their programs.

    Args:
        store: Delivers them.
        root: The tree.
        places: Component to directory in the tree.

    Raises:
        PreflightError: One is not available.
    """
    found = store.ensure(places)
    for name, place in places.items():
        for program in found[name].files:
            _put(found[name].directory / program, root / place / program)
        for link, target in store.lock.component[name].links.items():
            if link not in found[name].files and target in found[name].files:
                path = root / place / link
                path.unlink(missing_ok=True)
                path.symlink_to(target)


def write(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file that is this tree's own: what is there may be a second name of a file in the cache."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def _put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    link_or_copy(source, target)
