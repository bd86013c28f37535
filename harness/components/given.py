"""Images that this project neither builds nor downloads: the user brings them, as `docker save` wrote them.

<cache>/given/<folder>/<name>.tar    the archive; the folder is the image's name, and a hash where it has many versions
<cache>/given/<folder>/digest        SHA-256 of the folder's name and the archive's SHA-256
<cache>/given/<folder>/archive       SHA-256 of the archive
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

from harness.components import recipes
from harness.components.entry import file_digest
from harness.components.recipes import Image
from harness.components.resolver import Resolver
from harness.errors import PreflightError, UsageError
from harness.model.run import Pin

_LIST_BYTES = 1 << 22


SOURCE = "brought"
"""What the pins of a run say of such an image."""


def place(cache: Path, image: Image) -> Path:
    """Where the archive of an image is, or would be."""
    return cache / "given" / image.place


def advice(references: list[str]) -> str:
    """How to bring images."""
    names = " ".join(reference.removeprefix("docker.io/") for reference in references)
    return f"on a machine that can pull them: docker save {names} -o images.tar; here: cnilab components add images.tar"


def find(store: Resolver, image: Image) -> Path | None:
    """The archive of an image that somebody brought; None when nobody did."""
    path = place(store.cache, image)
    if not path.is_file():
        return None
    digest = path.with_name("archive")
    known = digest.read_text(encoding="ascii") if digest.is_file() else file_digest(path)
    store.add_pin(Pin(name=image.reference, version=image.reference.rpartition(":")[2], source=SOURCE, digest=known))
    return path


def missing(store: Resolver, image: Image) -> PreflightError:
    """The error about an image that nobody brought yet."""
    return PreflightError(
        f"the image {image.reference} is not in the cache",
        cause="this program neither builds nor downloads it",
        where=str(place(store.cache, image)),
        next_step=advice([image.reference]),
    )


def add(store: Resolver, archive: Path) -> list[str]:
    """Take over an archive for all given images that are in it.

    Args:
        store: The cache, and the lock that names the images.
        archive: Of images, with their names.

    Returns:
        Full names of the images that it has and that labs use.

    Raises:
        UsageError: It is no such archive, or has none of them.
    """
    there = references(archive)
    known = recipes.images(store.lock)
    others = there - {image.reference for image in known}
    versions = recipes.published(sorted(one for one in others if one.startswith(recipes.PUBLISHERS)))
    wanted = [image for image in (*known, *versions) if image.foreign and image.reference in there]
    if not wanted:
        names = ", ".join(image.reference for image in known if image.foreign)
        known_step = f"{names}; or other versions of networks, of {', '.join(recipes.PUBLISHERS)}"
        msg = f"{archive} contains no image that can be added this way"
        raise UsageError(
            msg, cause=f"it contains: {', '.join(sorted(there)) or 'no named image'}", next_step=known_step
        )
    digest = file_digest(archive)
    for image in wanted:
        target = place(store.cache, image)
        with store.exclusive(f"given-{target.parent.name}") as scratch:
            made = scratch / "made"
            made.mkdir()
            shutil.copyfile(archive, made / target.name)
            # Two images may be in one archive: what is made of them must differ all the same.
            (made / "digest").write_text(hashlib.sha256(f"{target.parent.name} {digest}".encode()).hexdigest(), "ascii")
            (made / "archive").write_text(digest, "ascii")
            store.publish(made, target.parent)
    return [image.reference for image in wanted]


def references(archive: Path) -> set[str]:
    """Full names of the images in an archive: docker's manifest.json, or the annotations of an OCI index.

    Raises:
        UsageError: It is no archive of images.
    """
    found: set[str] = set()
    try:
        with tarfile.open(archive) as tar:
            for info in tar:
                if info.name.removeprefix("./") not in {"manifest.json", "index.json"}:
                    continue
                file = tar.extractfile(info)
                content = json.loads(file.read(_LIST_BYTES)) if file else None
                found |= _of_docker(content) if isinstance(content, list) else _of_index(content or {})
    except (OSError, tarfile.TarError, ValueError) as error:
        msg = f"{archive} is not an archive of images"
        raise UsageError(msg, cause=str(error)) from error
    return found


def _of_docker(content: list[dict[str, list[str] | None]]) -> set[str]:
    return {_full(tag) for one in content for tag in one.get("RepoTags") or ()}


def _of_index(content: dict[str, list[dict[str, dict[str, str]]]]) -> set[str]:
    notes = [one.get("annotations", {}) for one in content.get("manifests", ())]
    return {_full(note["io.containerd.image.name"]) for note in notes if "io.containerd.image.name" in note}


def _full(name: str) -> str:
    """`rajchaudhuri/weave-kube:2.9.0` is docker.io's, as docker and containerd have it."""
    first, slash, _ = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return name
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"
