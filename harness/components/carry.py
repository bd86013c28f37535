"""Look at the cache, check it, and carry it to another machine.

An export has the components of the present lock, charts and manifests of other versions of networks that were asked
for, and nothing else: images and containerd's root are made from them in seconds. The digests inside protect against
damage on the way, not against a forger: import only what you trust, for its programs run as root.

    <name>/<key>/entry.json
    <name>/<key>/files/<program>
"""

from __future__ import annotations

import gzip
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal, cast

from pydantic import Field

from harness.components import elf
from harness.components import entry as entries
from harness.components.entry import Entry
from harness.components.resolver import Resolver
from harness.components.sources import toolchain
from harness.errors import CnilabError, UsageError
from harness.model.base import Record

_MEMBER = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]*)/(?P<key>[0-9a-f]{16})/(?:entry\.json|files/[a-z0-9][a-z0-9._-]*)")


class ComponentStatus(Record):
    """A component of the lock and what the cache has of it."""

    name: str
    kind: str
    pinned: str = Field(description="Version in the lock")
    state: Literal["cached", "stale", "damaged", "missing"]
    version: str = Field(default="", description="Version in the cache")
    source: str = ""
    origin: str = ""
    size: int = Field(default=0, description="Bytes")
    digest: str = ""
    problems: tuple[str, ...] = ()
    sources: tuple[str, ...] = Field(default=(), description="Sources that the lock names")
    summary: str = ""


class DamagedError(CnilabError):
    """The cache, or an archive of it, is not what it was."""

    exit_code = 10


def list_components(store: Resolver) -> list[ComponentStatus]:
    """Every component of the lock, in its order, with what the cache has."""
    return [_status(store, name, thorough=False) for name in store.lock.component]


def verify(store: Resolver) -> list[ComponentStatus]:
    """The same after hashing every file again. A damaged entry is taken out: the next `ensure` makes it anew."""
    found = [_status(store, name, thorough=True) for name in store.lock.component]
    for status in found:
        if status.state == "damaged":
            with store.exclusive(f"component-{status.name}"):
                entries.remove(store.directory(store.lock.component[status.name]))
    return found


def verify_toolchain(store: Resolver) -> list[ComponentStatus]:
    """The same for the pinned Go, which no component is but all builds may need; nothing where none is pinned."""
    pinned = store.lock.go
    if pinned is None or not pinned.sum:
        return []
    place, module = toolchain.place(store.cache, pinned), toolchain.module(pinned)
    status = ComponentStatus(
        name="go",
        kind="toolchain",
        pinned=pinned.version,
        state="missing",
        sources=("module",),
        summary="Go for builds, where the machine has none that is new enough",
    )
    if not place.is_dir():
        return [status]
    found = toolchain.sum_of(place, module)
    problems = () if found == pinned.sum else (f"{place} has the sum {found}, but components.lock says {pinned.sum}",)
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    if problems:
        with store.exclusive(f"go-{pinned.version}"):
            entries.remove(place)
    facts = {"version": pinned.version, "source": "module", "origin": module, "size": size, "digest": found}
    state = "damaged" if problems else "cached"
    return [status.model_copy(update={**facts, "state": state, "problems": problems})]


def _status(store: Resolver, name: str, *, thorough: bool) -> ComponentStatus:
    component = store.lock.component[name]
    known = ("system", "package", "release", "build")
    status = ComponentStatus(
        name=name,
        kind=component.kind,
        pinned=component.pinned,
        state="missing",
        sources=tuple(source for source in known if getattr(component, source)),
        summary=component.summary,
    )
    directory = store.directory(component)
    entry = entries.read(directory)
    if entry is None:
        return status
    problems = entries.damage(directory, entry, thorough=thorough)
    return status.model_copy(
        update={
            "state": "damaged" if problems else "stale" if entries.stale(entry) else "cached",
            "version": entry.version,
            "source": entry.source,
            "origin": entry.origin,
            "size": sum(record.size for record in entry.files.values()),
            "digest": entry.digest,
            "problems": tuple(problems),
        }
    )


def export(store: Resolver, archive: Path) -> list[ComponentStatus]:
    """Write the cached components of the lock into one tar archive.

    Args:
        store: The cache.
        archive: To be made; compressed when its name ends in `.gz` or `.tgz`.

    Returns:
        What is in it.

    Raises:
        UsageError: The cache has nothing, or the archive cannot be written.
        DamagedError: A file of the cache is not what it was.
    """
    found = [status for status in verify(store) if status.state != "missing"]
    others = list(_of_other_versions(store))
    if broken := [problem for status in found for problem in status.problems]:
        msg = "the cache is damaged"
        raise DamagedError(msg, cause="\n".join(broken), next_step="cnilab components ensure")
    if not found:
        msg = "the cache is empty: nothing to export"
        raise UsageError(msg, where=str(store.cache), next_step="cnilab components ensure")
    scratch = archive.with_name(f".{archive.name}.new")
    try:
        with scratch.open("wb") as file, _compressed(file, archive) as out, tarfile.open(fileobj=out, mode="w|") as tar:
            for status in found:
                _add_entry(tar, store.directory(store.lock.component[status.name]))
            for directory in others:
                _add_entry(tar, directory)
        scratch.replace(archive)
    except OSError as error:
        msg = f"cannot write {archive}"
        raise UsageError(msg, cause=error.strerror or str(error)) from error
    finally:
        scratch.unlink(missing_ok=True)
    return found


def _of_other_versions(store: Resolver) -> Iterator[Path]:
    """Directories of what installs other versions of networks than the pinned ones."""
    for component in store.lock.component.values():
        for directory in sorted((store.cache / "components" / component.name).glob("*")) if component.published else ():
            entry = entries.read(directory)
            if entry and set(entry.files) == set(component.published) and not entries.damage(directory, entry):
                yield directory


@contextmanager
def _compressed(file: IO[bytes], archive: Path) -> Iterator[IO[bytes]]:
    if archive.suffix not in {".gz", ".tgz"}:
        yield file
        return
    # No name and no time in the header: the same cache gives the same bytes. Level 1: programs hardly gain from more.
    with gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=1, mtime=0) as out:
        yield cast("IO[bytes]", out)


def _add_entry(tar: tarfile.TarFile, directory: Path) -> None:
    prefix = f"{directory.parent.name}/{directory.name}"
    for path in (directory / "entry.json", *sorted((directory / "files").iterdir())):
        info = tarfile.TarInfo(f"{prefix}/{path.relative_to(directory)}")
        info.size = path.stat().st_size
        info.mode = 0o644 if path.suffix == ".json" else 0o755
        with path.open("rb") as file:
            tar.addfile(info, file)


def import_(store: Resolver, archive: Path) -> list[Entry]:
    """Take over the components of an export, each after a check of all its digests.

    Args:
        store: The cache.
        archive: As written by `export`.

    Returns:
        What was taken over. Entries of another version of the lock are taken over too, and lie there unused.

    Raises:
        UsageError: The archive cannot be read, or has something in it that no export has: nothing is taken over.
        DamagedError: A file does not match its digest: nothing is taken over.
    """
    with store.exclusive("import") as scratch:
        try:
            with tarfile.open(archive) as tar:
                for info, file in _members(tar, archive):
                    place = scratch / info.name
                    place.parent.mkdir(parents=True, exist_ok=True)
                    with file, place.open("wb") as out:
                        while chunk := file.read(1 << 20):
                            out.write(chunk)
        except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            msg = f"{archive} is not an export of components, or is incomplete"
            raise UsageError(msg, cause=str(error)) from error
        except FileNotFoundError as error:
            msg = f"cannot read {archive}"
            raise UsageError(msg, cause=error.strerror or str(error)) from error
        made = [(path.parent, _checked(path.parent)) for path in sorted(scratch.glob("*/*/entry.json"))]
        if not made:
            msg = f"{archive} contains no component"
            raise UsageError(msg)
        for directory, entry in made:
            store.publish(directory, store.cache / "components" / entry.name / entry.key)
    return [entry for _, entry in made]


def _members(tar: tarfile.TarFile, archive: Path) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """Regular files with names that an export has; anything else ends the import before a byte leaves the scratch."""
    for info in tar:
        file = tar.extractfile(info) if info.isreg() and _MEMBER.fullmatch(info.name) else None
        if file is None:
            msg = f"{archive} is not an export of components"
            raise UsageError(msg, cause=f"it contains a member named {info.name[:200]!r}")
        yield info, file


def _checked(directory: Path) -> Entry:
    """Check an unpacked entry; its files get today's times."""
    entry = entries.read(directory)
    if entry is None or (entry.name, entry.key) != (directory.parent.name, directory.name):
        msg = "the archive is damaged"
        raise DamagedError(
            msg, cause=f"{directory.parent.name}/{directory.name}/entry.json does not describe its folder"
        )
    if other := next((found for path in sorted(directory.glob("files/*")) if (found := elf.complaint(path))), ""):
        msg = "the archive is for another kind of machine"
        raise DamagedError(msg, cause=other, next_step="export it on a machine of the same kind")
    if problems := entries.damage(directory, entry, thorough=True):
        msg = "the archive is damaged"
        raise DamagedError(msg, cause="\n".join(problems), next_step="copy it again, or export it again")
    entry = entry.model_copy(update={"files": entries.describe(directory / "files")})
    entries.write(directory, entry)
    return entry
