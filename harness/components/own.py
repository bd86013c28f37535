"""Programs that the user brings in place of those that the lock names: a build of one's own, tried in a lab.

<cache>/own/<program>-<sha256>/<program>    what was brought
<cache>/own/<key>/<program>                 a component with it: its other programs are hard links
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from harness.components import elf, given, recipes
from harness.components.entry import file_digest
from harness.components.lock import Component, architecture, programs
from harness.components.resolver import Resolved, Resolver
from harness.errors import UsageError

SOURCE = "own"
"""What the pins of a run say of such a program, and of its component."""

FOLDER = "own"
"""Of the cache."""

_ELF = b"\x7fELF"
_PT_INTERP = 3
_KEPT = 6
"""Directories of earlier labs that stay, so that the next try with the same file makes nothing."""


def split(word: str) -> tuple[str, str]:
    """The two parts of NAME=PATH.

    Raises:
        UsageError: It is something else.
    """
    name, _, path = word.partition("=")
    if not name or not path:
        msg = f"--component {word[:100]}"
        raise UsageError(msg, cause="the form is NAME=PATH", next_step="example: --component flanneld=./flanneld")
    return name, path


@dataclass(frozen=True)
class Offer:
    """What a user brings; nothing of it has been taken over.

    Args:
        programs: Name of a program to the file in its place.
        images: Reference of an image to the archive that has it.
    """

    programs: dict[str, Path]
    images: dict[str, Path]


def look(store: Resolver, words: Iterable[str], used: Collection[str], pulled: Collection[str] = ()) -> Offer:
    """What `--component NAME=PATH` names; nothing is changed.

    Args:
        store: Its lock knows all names.
        words: NAME is a program of a component, or an image that is brought, and PATH a file.
        used: Names of the components whose programs the lab takes from the store.
        pulled: Short names of the lab's images.

    Raises:
        UsageError: The lab has no such program or image, the file is not one, or it would not run where it is wanted.
    """
    mine: dict[str, Path] = {}
    archives: dict[str, Path] = {}
    images = {image.name: image for image in recipes.images(store.lock) if image.foreign and image.name in pulled}
    for name, path in map(split, words):
        file = Path(path).expanduser().absolute()
        if not file.is_file():
            msg = f"--component {name}: there is no file {file}"
            raise UsageError(msg, next_step="give the path of the file that you built or saved")
        if name in images:
            there = given.references(file)
            if images[name].reference not in there:
                msg = f"--component {name}: {file} does not contain that image"
                raise UsageError(msg, next_step=given.advice([images[name].reference]))
            archives.update({one.reference: file for one in images.values() if one.reference in there})
            continue
        _check(file, name, _component(store, name, used, images))
        mine[name] = file
    return Offer(mine, archives)


def bring(
    store: Resolver, words: Iterable[str], used: Collection[str], pulled: Collection[str] = ()
) -> dict[str, Path]:
    """Take over what `--component NAME=PATH` names; see `look`.

    Args:
        store: Its cache keeps a copy: a lab must not change when its user builds again.
        words: As for `look`.
        used: As for `look`.
        pulled: As for `look`.

    Returns:
        Program to copy. An image is in the cache from now on, for all labs.

    Raises:
        UsageError: As from `look`.
    """
    found = look(store, words, used, pulled)
    for archive in dict.fromkeys(found.images.values()):
        given.add(store, archive)
    return {name: _keep(store, name, file) for name, file in found.programs.items()}


def kept(cache: Path, words: Iterable[str]) -> dict[str, Path]:
    """Programs that were brought before, by the paths of their copies; all else is left out.

    For a machine of another kernel: what its user brought is in the cache, to which its own has links, and nothing else
    can be seen there.
    """
    place = (cache / FOLDER).resolve()
    found = {name: Path(path).resolve() for name, path in map(split, words)}
    return {name: path for name, path in found.items() if place in path.parents and path.is_file()}


def digest(copy: Path) -> str:
    """SHA-256 of what was brought, by its copy."""
    return copy.parent.name.rpartition("-")[2]


def _component(store: Resolver, name: str, used: Collection[str], images: Iterable[str]) -> Component:
    """The component that delivers a program, if the lab takes it from the store."""
    there = {one: store.lock.component[one] for one in used}
    for component in there.values():
        if name in programs(component):
            return component
    names = sorted({one for component in there.values() for one in programs(component)})
    msg = f"--component {name[:100]}: this cluster has no program or image of that name"
    step = f"use one of these, or an image: {', '.join(images)}" if images else "use one of these"
    raise UsageError(msg, cause=f"programs: {', '.join(names)}", next_step=step)


def _check(file: Path, name: str, component: Component) -> None:
    if found := elf.complaint(file):
        msg = f"--component {name}: {file} cannot run here"
        raise UsageError(msg, cause=found, next_step=f"build it for this machine: GOOS=linux GOARCH={architecture()}")
    interpreter = needs_loader(file)
    if component.kind == "image" and interpreter:
        msg = f"--component {name}: {file} is linked dynamically"
        step = "link it statically: CGO_ENABLED=0 go build, or -ldflags '-extldflags -static'"
        raise UsageError(msg, cause=f"it needs {interpreter}, but its image has no C library", next_step=step)


def needs_loader(program: Path) -> str:
    """The dynamic loader that a program names; empty where it names none (elf(5), PT_INTERP)."""
    with program.open("rb") as file:
        head = file.read(64)
        if head[:4] != _ELF or head[4:6] != b"\x02\x01":
            return ""  # a script; or of another machine, which the kernel will say
        offset, size, count = (int.from_bytes(head[at : at + n], "little") for at, n in ((32, 8), (54, 2), (56, 2)))
        file.seek(offset)
        table = file.read(size * count)
        for entry in (table[at : at + size] for at in range(0, len(table), size or 1)):
            if int.from_bytes(entry[:4], "little") == _PT_INTERP:
                file.seek(int.from_bytes(entry[8:16], "little"))
                return file.read(int.from_bytes(entry[32:40], "little")).rstrip(b"\0").decode(errors="replace")
    return ""


def _keep(store: Resolver, name: str, file: Path) -> Path:
    with store.exclusive("own") as scratch:
        made = scratch / "made"
        made.mkdir()
        shutil.copyfile(file, made / name)
        (made / name).chmod(0o555)
        # Of the copy: the file may be written to at this moment.
        place = store.cache / FOLDER / f"{name}-{file_digest(made / name)}"
        if not (place / name).is_file():
            store.publish(made, place)
        place.touch()
        store.forget_old(place.parent, keep=_KEPT)
    return place / name


def replaced(store: Resolver, found: Resolved, brought: Mapping[str, Path]) -> Resolved:
    """A component with programs of the user's own in it.

    Args:
        store: Its cache.
        found: The component as the lock has it.
        brought: Program to copy, as `bring` returned them; those of other components do not matter.
    """
    mine = {name: path for name, path in brought.items() if name in programs(store.lock.component[found.name])}
    if not mine:
        return found
    text = "".join(f"{path.parent.name}\n" for _, path in sorted(mine.items()))
    key = hashlib.sha256(f"{found.digest}\n{text}".encode()).hexdigest()
    place = store.cache / FOLDER / key
    if not place.is_dir():
        with store.exclusive(f"own-{key}") as scratch:
            if not place.is_dir():
                made = scratch / "made"
                made.mkdir()
                for name, path in {**{name: found.directory / name for name in found.files}, **mine}.items():
                    (made / name).hardlink_to(path)
                store.publish(made, place)
    with suppress(OSError):
        place.touch()
    names = tuple(sorted({*found.files, *mine}))
    path = place / names[0] if len(names) == 1 else place
    return replace(
        found, version=f"{found.version}+own", source=SOURCE, path=path, digest=key, directory=place, files=names
    )
