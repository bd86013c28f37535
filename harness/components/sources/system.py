"""Programs that the machine already has."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar

from harness.components.lock import Component
from harness.components.sources.base import Delivered, Desk, Refused, examine


class SystemSource:
    """Copies accepted programs from PATH.

    Copies, because a lab's nodes see the cache and not necessarily the place where the machine keeps them, and because
    an upgrade of the machine must not change a running lab.
    """

    name: ClassVar[str] = "system"

    def deliver(self, component: Component, desk: Desk) -> Delivered | Refused:
        """See `Source.deliver`."""
        wanted = component.system
        if wanted is None:
            return Refused("the lock does not allow a program of the machine")
        found = {name: shutil.which(program) for name, program in wanted.programs.items()}
        missing = [wanted.programs[name] for name, path in found.items() if path is None]
        if missing:
            return Refused(f"not on PATH: {', '.join(missing)}")
        watch = tuple(Path(path).resolve() for path in found.values() if path)
        for name, path in zip(found, watch, strict=True):
            shutil.copy2(path, desk.files / name)
        version = examine(component, desk)
        if isinstance(version, Refused):
            return Refused(f"{watch[0].parent}: {version.reason}")
        return Delivered(version, ", ".join(map(str, watch)), watch)
