"""Container images from components, as OCI archives: the same files give the same bytes.

An archive is an OCI image layout (image-spec v1.1, image-layout.md) with Docker's `manifest.json` next to it, so that
containerd, Docker and Podman all load it. It has one uncompressed layer: it is unpacked on this machine a moment after
it was packed.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from harness.components import given, payloads, pull, recipes
from harness.components.entry import file_digest
from harness.components.lock import architecture
from harness.components.payloads import Content
from harness.components.recipes import Image
from harness.components.resolver import Resolver
from harness.model.run import Pin

FORMAT = 2
"""Counts changes of this writer: part of every image's key."""

_DIRECTORIES = ("dev", "etc", "proc", "root", "run", "sys", "tmp", "var", "var/run")
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


def archives(store: Resolver, names: Iterable[str]) -> list[Path]:
    """Build the archives of images that are not in the cache yet.

    Args:
        store: Delivers the programs and keeps the archives.
        names: Short names (`toolbox`) or references (`cnilab.dev/toolbox:1`).

    Returns:
        One archive per name, in order.

    Raises:
        UsageError: No image has that name.
        PreflightError: A program of an image is not available.
    """
    wanted = [recipes.find(store.lock, name) for name in names]
    store.ensure(components(store, (image.name for image in wanted)))
    return [_archive(store, image) for image in wanted]


def components(store: Resolver, names: Iterable[str]) -> list[str]:
    """Names of the components that images are made of."""
    return [component for name in names for component in recipes.find(store.lock, name).components]


def _archive(store: Resolver, image: Image) -> Path:
    if image.foreign and (brought := given.find(store, image)):
        return brought
    if image.given:
        raise given.missing(store, image)
    if image.pulled:
        return pull.archive(store, image)

    def write(contents: Mapping[str, Content], target: Path, scratch: Path) -> None:
        digest = write_archive(target, image, contents, scratch)
        target.with_name("digest").write_text(digest, encoding="ascii")

    path = _kept(store, image, f"{image.name}.tar", write)
    version = image.reference.rpartition(":")[2]
    store.add_pin(Pin(name=image.reference, version=version, source="build", digest=image_digest(path)))
    return path


def _kept(store: Resolver, image: Image, name: str, write: Callable[[Mapping[str, Content], Path, Path], None]) -> Path:
    """What is made of an image's files, from the cache, or made now.

    Args:
        store: Has the cache.
        image: Whose files.
        name: Of what is made.
        write: Makes it of the files, at a path; the last argument is a directory for scratch.
    """
    contents = image.contents(store)
    place = store.cache / "images" / _key(image, contents)
    path = place / name
    if not path.is_file():
        with store.exclusive(f"image-{place.name}") as scratch:
            if not path.is_file():
                made = scratch / "made"
                made.mkdir()
                write(contents, made / name, scratch)
                store.publish(made, place)
        store.forget_old(place.parent, keep=2 * len(recipes.images(store.lock)))
    place.touch()
    return path


def kit(store: Resolver) -> Path:
    """What probes on nodes need, without an image: a packed archive of programs with their libraries.

    Args:
        store: Delivers the programs and keeps the archive.

    Raises:
        PreflightError: A program is not available.
    """
    store.ensure(["responder"])
    image = Image("kit", "kit", (), (), ("responder",), payloads.kit)

    def write(contents: Mapping[str, Content], target: Path, _: Path) -> None:
        with target.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, 0) as file:
            _write_layer(file, contents)

    return _kept(store, image, "kit.tar.gz", write)


def _write_layer(file: IO[bytes] | gzip.GzipFile, contents: Mapping[str, Content]) -> None:
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        writer = _Layer(tar)
        for directory in _DIRECTORIES:
            if directory not in contents:
                writer.directory(directory)
        for path, content in sorted(contents.items()):
            writer.content(path, content)


def image_digest(archive: Path) -> str:
    """Digest of an archive's manifest, without `sha256:`: what container runtimes call the image's digest."""
    return (archive.parent / "digest").read_text(encoding="ascii")


def _key(image: Image, contents: Mapping[str, Content]) -> str:
    """SHA-256 over everything that goes into an image."""
    words = (FORMAT, architecture(), image.reference, image.entrypoint, image.command, *image.also, *image.env)
    digest = hashlib.sha256(" ".join(map(str, words)).encode())
    for path, content in sorted(contents.items()):
        if isinstance(content, Path):
            # Hashing 200 MB at every start would cost a second: size and time stand for the content.
            info = content.stat()
            digest.update(f"{path} {info.st_size} {info.st_mtime_ns}\n".encode())
        else:
            digest.update(f"{path} {content!r}\n".encode())
    return digest.hexdigest()


@dataclass
class _Layer:
    """Writes a layer: sorted, owned by root, dated 1970."""

    tar: tarfile.TarFile
    known: set[str] = field(default_factory=set)

    def directory(self, path: str) -> None:
        for parent in (*reversed(PurePosixPath(path).parents), PurePosixPath(path)):
            name = str(parent)
            if name not in {".", *self.known}:
                self.known.add(name)
                self._add(name, tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755)

    def content(self, path: str, content: Content) -> None:
        self.directory(str(PurePosixPath(path).parent))
        if isinstance(content, str):
            self._add(path, tarfile.SYMTYPE, 0o777, link=content)
        elif isinstance(content, bytes):
            mode = 0o755 if content.startswith(b"#!") else 0o644  # a script is there to be run
            self._add(path, tarfile.REGTYPE, mode, io.BytesIO(content), len(content))
        else:
            with content.open("rb") as file:
                self._add(path, tarfile.REGTYPE, 0o755, file, content.stat().st_size)

    def _add(
        self, name: str, kind: bytes, mode: int, file: IO[bytes] | None = None, size: int = 0, *, link: str = ""
    ) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.size, info.linkname = kind, mode, size, link
        self.tar.addfile(info, file)


def write_archive(target: Path, image: Image, contents: Mapping[str, Content], scratch: Path) -> str:
    """Write one archive.

    Args:
        target: The file to make.
        image: Reference, entry point and command.
        contents: Path in the image, without leading slash, to what is there.
        scratch: An existing directory for the layer.

    Returns:
        Digest of the manifest.
    """
    references = (image.reference, *image.also)
    layer = scratch / "layer.tar"
    with layer.open("wb") as file:
        _write_layer(file, contents)
    layer_digest = file_digest(layer)
    config = _json(
        {
            "architecture": architecture(),
            "config": {
                "Cmd": list(image.command),
                "Entrypoint": list(image.entrypoint),
                "Env": [f"PATH={recipes.PATH}", *image.env],
            },
            "created": "1970-01-01T00:00:00Z",
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "cnilab"}],
            "os": "linux",
            "rootfs": {"diff_ids": [f"sha256:{layer_digest}"], "type": "layers"},
        }
    )
    manifest = _json(
        {
            "config": _descriptor(_CONFIG, config),
            "layers": [{"digest": f"sha256:{layer_digest}", "mediaType": _LAYER, "size": layer.stat().st_size}],
            "mediaType": _MANIFEST,
            "schemaVersion": 2,
        }
    )
    index = _json(
        {
            "manifests": [
                {
                    **_descriptor(_MANIFEST, manifest),
                    "annotations": {
                        "io.containerd.image.name": reference,
                        "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
                    },
                    "platform": {"architecture": architecture(), "os": "linux"},
                }
                for reference in references
            ],
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "schemaVersion": 2,
        }
    )
    docker = _json(
        [{"Config": _blob(config), "Layers": [f"blobs/sha256/{layer_digest}"], "RepoTags": list(references)}]
    )
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as tar:
        writer = _Layer(tar)
        writer.content("oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        writer.content("index.json", index)
        writer.content("manifest.json", docker)
        writer.content(_blob(config), config)
        writer.content(_blob(manifest), manifest)
        writer.content(f"blobs/sha256/{layer_digest}", layer)
    layer.unlink()
    return hashlib.sha256(manifest).hexdigest()


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _blob(data: bytes) -> str:
    return f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "mediaType": media_type, "size": len(data)}
