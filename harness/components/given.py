"""Images that this project neither builds nor downloads: the user brings them, as `docker save` wrote them.

<cache>/given/<name>/<name>.tar    the archive
<cache>/given/<name>/digest        SHA-256 of the archive
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

_LIST_BYTES = 1 << 22


def place(cache: Path, name: str) -> Path:
    """Where the archive of an image is, or would be."""
    return cache / "given" / name / f"{name}.tar"


def where(cache: Path, reference: str) -> Path:
    """The same, by the image's full name."""
    return place(cache, reference.rpartition("/")[2].partition(":")[0])


def advice(references: list[str]) -> str:
    """How to bring images."""
    names = " ".join(reference.removeprefix("docker.io/") for reference in references)
    return f"where they can be pulled: docker save {names} -o images.tar; here: cnilab components add images.tar"


def require(store: Resolver, image: Image) -> Path:
    """The archive of a given image.

    Raises:
        PreflightError: Nobody brought it yet.
    """
    path = place(store.cache, image.name)
    if not path.is_file():
        msg = f"the image {image.reference} is not here"
        raise PreflightError(
            msg,
            cause="it is neither built nor downloaded by this program",
            where=str(path),
            next_step=advice([image.reference]),
        )
    return path


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
    wanted = [image for image in recipes.images(store.lock) if image.given and image.reference in there]
    if not wanted:
        known = ", ".join(image.reference for image in recipes.images(store.lock) if image.given)
        msg = f"{archive} has no image that is brought this way"
        raise UsageError(msg, cause=f"it has: {', '.join(sorted(there)) or 'none with a name'}", next_step=known)
    digest = file_digest(archive)
    for image in wanted:
        with store.exclusive(f"given-{image.name}") as scratch:
            made = scratch / "made"
            made.mkdir()
            shutil.copyfile(archive, made / f"{image.name}.tar")
            # Two images may be in one archive: what is made of them must differ all the same.
            (made / "digest").write_text(hashlib.sha256(f"{image.name} {digest}".encode()).hexdigest(), "ascii")
            store.publish(made, place(store.cache, image.name).parent)
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
