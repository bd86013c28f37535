"""All that a lab is made of, in the form in which nodes take it.

<cache>/bin/<key>/                one directory of programs, as nodes see it
<cache>/cni/<key>/                CNI plugins
<cache>/images/<key>/<name>.tar   image archives
<cache>/containerd-root/<key>/    containerd's root with the images in it
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from harness.components import images, own, recipes, runtime
from harness.components.resolver import DEFAULT_SOURCES, Resolved, Resolver
from harness.model.run import Pin

__all__ = ["DEFAULT_SOURCES", "Resolved", "Store"]


class Store(Resolver):
    """Components as directories of programs, images, and a prepared containerd root; see `Resolver` for the rest."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.own: dict[str, Path] = {}
        """Programs that the user brought, by name; see `own.bring`."""

    def ensure(self, names: Iterable[str]) -> dict[str, Resolved]:
        """See `Resolver.ensure`; with programs of the user's own in place of others."""
        found = {name: own.replaced(self, item, self.own) for name, item in super().ensure(names).items()}
        for item in found.values():
            if item.source == own.SOURCE:
                self.add_pin(Pin(name=item.name, version=item.version, source=item.source, digest=item.digest))
                for program, copy in self.own.items():
                    if program in item.files:
                        version = item.version if program == item.name else ""
                        self.add_pin(Pin(name=program, version=version, source=own.SOURCE, digest=own.digest(copy)))
        return found

    def bin_dir(self, names: Iterable[str]) -> Path:
        """A directory with the programs of components under all their names, for the nodes' PATH.

        Hard links, or copies where the cache spans file systems: bind-mounted into a node it is complete by itself.
        """
        chosen = [item for name, item in self.ensure(names).items() if self.lock.component[name].kind == "bin"]
        return self._farm("bin", chosen)

    def program(self, name: str) -> Path:
        """Path of a program by its own name, whether it is a file of its own or a name of a common one.

        Args:
            name: Of the program; or of a component, whose path is that of its only program, or of all of them.
        """
        component = self.lock.find(name)
        item = self.ensure([component.name])[component.name]
        if name == component.name:
            return item.path
        return (self.bin_dir([component.name]) if component.kind == "bin" else item.directory) / name

    def cni_components(self) -> list[str]:
        """Names of the components that `cni_dir` is made of."""
        return [component.name for component in self.lock.component.values() if component.kind == "cni"]

    def cni_dir(self, more: Sequence[str] = ()) -> Path:
        """A directory with the reference CNI plugins, for the nodes' /opt/cni/bin.

        Args:
            more: Components with other plugins, which it has, too.
        """
        return self._farm("cni", list(self.ensure([*self.cni_components(), *more]).values()))

    def _farm(self, kind: str, chosen: Sequence[Resolved]) -> Path:
        links = {
            link: target
            for item in chosen
            for link, target in self.lock.component[item.name].links.items()
            if link not in item.files and target in item.files
        }
        text = "".join(f"{item.name} {item.digest}\n" for item in chosen) + repr(sorted(links.items()))
        place = self.cache / kind / hashlib.sha256(text.encode()).hexdigest()[:16]
        if place.is_dir():
            return place
        with self.exclusive(f"{kind}-{place.name}") as scratch:
            if not place.is_dir():
                made = scratch / "made"
                made.mkdir()
                for item in chosen:
                    for name in item.files:
                        link_or_copy(item.directory / name, made / name)
                for link, target in links.items():
                    (made / link).symlink_to(target)
                self.publish(made, place)
        return place

    def image_components(self, names: Iterable[str]) -> list[str]:
        """Names of the components that images are made of."""
        return images.components(self, names)

    def image_archives(self, names: Iterable[str]) -> list[Path]:
        """Archives of images, each in a directory named after its content; see `images.archives`."""
        return images.archives(self, names)

    def containerd_root(self, names: Iterable[str]) -> Path:
        """A containerd root directory with images imported and unpacked; see `runtime.containerd_root`."""
        return runtime.containerd_root(self, names)

    def image_references(self, names: Iterable[str]) -> list[str]:
        """Full names of images, for manifests."""
        return [recipes.find(self.lock, name).reference for name in names]


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for the same file, or a copy when the file system cannot."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)
