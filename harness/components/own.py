"""Programs that the user brings in place of those that the lock names: a build of one's own, tried in a lab.

<cache>/own/<sha256>/<program>    what was brought
<cache>/own/<key>/<program>       a component with it: its other programs are hard links
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from harness.components import given, recipes
from harness.components.entry import file_digest
from harness.components.lock import Component, Lock, programs
from harness.components.resolver import Resolved, Resolver
from harness.errors import UsageError
from harness.model.spec import LabSpec

SOURCE = "own"
"""What the pins of a run say of such a component."""

_ELF = b"\x7fELF"
_PT_INTERP = 3
_KEPT = 6
"""Directories of earlier labs that stay, so that the next try with the same file copies nothing."""


def bring(store: Resolver, words: Iterable[str], spec: LabSpec) -> dict[str, Path]:
    """Take over what `--component NAME=PATH` names.

    Args:
        store: Its cache keeps a copy: a lab must not change when its user builds again.
        words: NAME is a program of a component, or an image that is brought, and PATH a file.
        spec: The lab that it is for.

    Returns:
        Program to copy. An image is in the cache from now on, for all labs.

    Raises:
        UsageError: There is no such program or image, the file is not one, or it would not run where it is wanted.
    """
    found: dict[str, Path] = {}
    images = {image.name: image for image in recipes.images(store.lock) if image.given}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or not name or not path:
            msg = f"--component {word[:100]}"
            raise UsageError(msg, cause="it is NAME=PATH", next_step="as in: --component flanneld=./flanneld")
        file = Path(path).expanduser().absolute()
        if not file.is_file():
            msg = f"--component {name}: there is no file {file}"
            raise UsageError(msg, next_step="name the file that was built, or saved")
        if name in images:
            if images[name].reference not in given.add(store, file):
                msg = f"--component {name}: {file} does not have that image"
                raise UsageError(msg, next_step=given.advice([images[name].reference]))
            continue
        _check(file, name, _component(store.lock, name, images), spec)
        found[name] = _keep(store, name, file)
    return found


def _component(lock: Lock, name: str, images: Iterable[str]) -> Component:
    """The component that delivers a program."""
    for component in lock.component.values():
        if name in programs(component):
            return component
    everything = sorted({one for component in lock.component.values() for one in programs(component)})
    msg = f"--component {name[:100]}: labs have no program of that name"
    raise UsageError(msg, cause=f"programs: {', '.join(everything)}", next_step=f"images: {', '.join(images)}")


def _check(file: Path, name: str, component: Component, spec: LabSpec) -> None:
    if spec.provider != "namespaces" and component.kind == "bin":
        msg = f"--component {name}: nodes of {spec.provider} have it in their image"
        raise UsageError(msg, next_step="use it with the provider namespaces")
    interpreter = needs_loader(file)
    if component.kind == "image" and interpreter:
        msg = f"--component {name}: {file} is linked dynamically"
        step = "link it statically: CGO_ENABLED=0 go build, or -ldflags '-extldflags -static'"
        raise UsageError(msg, cause=f"it asks for {interpreter}, and its image has no C library", next_step=step)


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
    place = store.cache / "own" / file_digest(file)
    if not (place / name).is_file():
        with store.exclusive(f"own-{place.name}") as scratch:
            made = scratch / "made"
            made.mkdir()
            shutil.copyfile(file, made / name)
            (made / name).chmod(0o555)
            store.publish(made, place)
        store.forget_old(place.parent, keep=_KEPT)
    os.utime(place)
    return place / name


def replaced(store: Resolver, found: Resolved, programs_of_own: Mapping[str, Path]) -> Resolved:
    """A component with programs of the user's own in it.

    Args:
        store: Its cache.
        found: The component as the lock has it.
        programs_of_own: Program to file, as `bring` returned them; those of other components do not matter.
    """
    mine = {name: path for name, path in programs_of_own.items() if name in programs(store.lock.component[found.name])}
    if not mine:
        return found
    digests = "".join(f"{name} {path.parent.name}\n" for name, path in sorted(mine.items()))
    digest = hashlib.sha256(f"{found.digest}\n{digests}".encode()).hexdigest()
    place = store.cache / "own" / digest
    if not place.is_dir():
        with store.exclusive(f"own-{digest}") as scratch:
            made = scratch / "made"
            made.mkdir()
            for name, path in {**{name: found.directory / name for name in found.files}, **mine}.items():
                (made / name).hardlink_to(path)
            store.publish(made, place)
    os.utime(place)
    names = tuple(sorted({*found.files, *mine}))
    path = place / names[0] if len(names) == 1 else place
    return replace(
        found, version=f"{found.version}+own", source=SOURCE, path=path, digest=digest, directory=place, files=names
    )
