"""Images of a network's own project, pulled from a registry by containerd's client, and kept as archives.

<cache>/pulled/<name>-<hash>/<name>.tar    the archive, of this machine's architecture alone
<cache>/pulled/<name>-<hash>/digest        SHA-256 of its full name and of its manifest's digest
<cache>/pulled/<name>-<hash>/pulled.json   which image it is, and from where

Nodes never pull: they have no way out. What was pulled once is taken from the cache.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from harness import timeouts
from harness.components import daemon, mirrors
from harness.components.lock import architecture
from harness.components.recipes import Image, short_name
from harness.components.resolver import Resolver
from harness.components.sources.release import Reach
from harness.components.tools import offline
from harness.errors import CnilabError, PreflightError
from harness.model.base import Record
from harness.model.journal import now
from harness.model.run import Pin
from harness.runner import CommandError

FOLDER = "pulled"
"""Of the cache."""

SOURCE = "pulled"
"""What the pins of a run say of such an image."""

_RECORD = "pulled.json"


class Pulled(Record):
    """An image in the cache that was pulled."""

    reference: str
    digest: str = Field(description="As the registry says it, of all architectures where it has several")
    origin: str = Field(description="URL of the registry, or of the mirror that stood for it")
    at: str = Field(description="RFC 3339, UTC")


def place(cache: Path, image: Image) -> Path:
    """Where the archive of an image is, or would be."""
    return cache / FOLDER / image.place


def known(cache: Path) -> list[Pulled]:
    """All images in the cache that were pulled."""
    found = filter(None, map(_record, (cache / FOLDER).glob(f"*/{_RECORD}")))
    return sorted(found, key=lambda one: one.reference)


def archive(store: Resolver, image: Image) -> Path:
    """The archive of an image, pulled now if it is not in the cache.

    Args:
        store: Has the cache, and containerd.
        image: Which one.

    Raises:
        PreflightError: It is not available; says why, and how else it may come here.
    """
    path = place(store.cache, image)
    found = _read(path)
    if found is None:
        title = f"pulling {image.reference}"
        with (
            store.journal.step("components.pull", title),
            store.exclusive(f"pulled-{path.parent.name}") as scratch,
        ):
            found = _read(path)
            if found is None:
                made = scratch / "made"
                made.mkdir()
                found = _pull(store, image, made / path.name, scratch)
                store.publish(made, path.parent)
    version = image.reference.partition("@")[0].rpartition(":")[2]
    store.add_pin(Pin(name=image.reference, version=version, source=SOURCE, digest=found.digest))
    return path


def _read(path: Path) -> Pulled | None:
    whole = path.is_file() and path.with_name("digest").is_file()
    return _record(path.with_name(_RECORD)) if whole else None


def _record(path: Path) -> Pulled | None:
    """What is written of an image; None where that is damaged: it is pulled anew when it is wanted."""
    try:
        return Pulled.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None


def _pull(store: Resolver, image: Image, target: Path, scratch: Path) -> Pulled:
    url = mirrors.source(image.reference, store.mirrors)
    if offline():
        raise _refused(image, url, "CNILAB_OFFLINE=1 does not allow access to a registry")
    if obstacle := Reach().obstacle(url):
        raise _refused(image, url, obstacle)
    folder = scratch / "certs.d"
    for host, mirror in store.mirrors.items():
        (folder / host).mkdir(parents=True)
        (folder / host / "hosts.toml").write_text(mirrors.hosts(mirror), encoding="utf-8")
    folder.mkdir(exist_ok=True)
    containerd = store.ensure(["containerd"])["containerd"]
    root = scratch / "root"
    root.mkdir()
    with daemon.private(store, containerd.directory, root, scratch / "containerd.log") as ctr:
        client = _Client(store, ctr, folder)
        try:
            digest = client.fetch(image.reference)
            manifest = client.single(image.reference, digest)
            client.export(image.reference, target)
        except CommandError as error:
            raise _refused(image, url, _reason(error)) from error
    pulled = Pulled(reference=image.reference, digest=digest.removeprefix("sha256:"), origin=url, at=now())
    target.with_name(_RECORD).write_text(pulled.model_dump_json(indent=1) + "\n", encoding="utf-8")
    # One manifest may have two names: what is made of them must differ all the same.
    key = hashlib.sha256(f"{image.reference} {manifest}".encode()).hexdigest()
    target.with_name("digest").write_text(key, encoding="ascii")
    return pulled


class _Client:
    """`ctr`, for one image after the other.

    Args:
        store: Runs it.
        ctr: The start of its command line.
        folder: What it is told of registries.
    """

    def __init__(self, store: Resolver, ctr: tuple[str, ...], folder: Path) -> None:
        self._runner = store.runner
        self._ctr = ctr
        self._folder = folder
        self._platform = f"linux/{architecture()}"

    def fetch(self, reference: str) -> str:
        """Fetch an image for this machine's architecture; its digest as the registry says it."""
        words = ("content", "fetch", "--hosts-dir", str(self._folder), "--platform", self._platform, reference)
        self._runner.run((*self._ctr, *words), timeout=timeouts.DOWNLOAD)
        lines = self._runner.run((*self._ctr, "images", "list", f"name=={reference}")).stdout.splitlines()
        return next(word for line in lines[1:] for word in line.split() if word.startswith("sha256:"))

    def single(self, reference: str, digest: str) -> str:
        """Have a name mean the manifest for this architecture alone: an index names others, which are not here.

        Returns:
            The manifest's digest.

        Raises:
            CommandError: The image is not for this architecture.
        """
        document: dict[str, Any] = json.loads(self._runner.run((*self._ctr, "content", "get", digest)).stdout)
        if "manifests" not in document:
            return digest
        fitting = [one["digest"] for one in document["manifests"] if _fits(one.get("platform", {}))]
        if not fitting:
            msg = f"the image is not for {self._platform}"
            raise CommandError(msg, cause=f"it has no image for {self._platform}")
        chosen: str = fitting[0]
        bare = f"{reference.partition('@')[0].rpartition(':')[0]}@{chosen}"
        self.fetch(bare)
        self._runner.run((*self._ctr, "images", "tag", "--force", bare, reference))
        return chosen

    def export(self, reference: str, target: Path) -> None:
        """Write the archive."""
        words = ("images", "export", "--platform", self._platform, str(target), reference)
        self._runner.run((*self._ctr, *words), timeout=timeouts.DOWNLOAD)


def _fits(platform: Mapping[str, str]) -> bool:
    return (platform.get("os"), platform.get("architecture")) == ("linux", architecture())


def _reason(error: CommandError) -> str:
    """What a registry said, without the progress before it."""
    lines = [line.strip() for line in error.cause.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("ctr:")] or lines[-1:]
    return said[-1].removeprefix("ctr:").strip() if said else error.what


def _refused(image: Image, url: str, reason: str) -> CnilabError:
    bare = image.reference.removeprefix("docker.io/")
    name = short_name(image.reference)
    host = mirrors.registry(image.reference)
    return PreflightError(
        f"the image {image.reference} cannot be pulled",
        cause=reason,
        where=url,
        next_step=f"use a mirror: cnilab --registry-mirror {host}=URL up …\n"
        f"or bring it: where it can be pulled: docker save {bare} -o {name}.tar; "
        f"here: cnilab components add {name}.tar",
    )
