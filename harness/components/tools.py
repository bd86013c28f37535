"""Ordinary programs of the machine: found on PATH, or installed with apt when that is allowed."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from harness.components.apt import Apt, heartbeat
from harness.components.lock import Tool
from harness.errors import PreflightError

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def which(name: str) -> Path | None:
    """A program on PATH, or where root's PATH would have it: a user's PATH often lacks the sbin directories."""
    found = shutil.which(name) or shutil.which(name, path=_SYSTEM_PATH)
    return Path(found) if found else None


def may_install() -> bool:
    """Whether apt may be used: root, apt there, and neither CNILAB_APT=no nor CNILAB_OFFLINE=1."""
    refused = os.environ.get("CNILAB_APT", "").lower() in {"no", "0", "false"}
    return os.geteuid() == 0 and not refused and not offline() and shutil.which("apt-get") is not None


def offline() -> bool:
    """Whether the user said that nothing must be fetched."""
    return os.environ.get("CNILAB_OFFLINE", "").lower() in {"yes", "1", "true"}


class Tools:
    """Finds the machine's tools.

    Args:
        known: The lock's table of tools.
        apt: Installs.
        say: Told before anything is installed.
        install: Whether apt may be used; by default as `may_install` says at the time.
    """

    def __init__(
        self,
        known: dict[str, Tool],
        apt: Apt,
        say: Callable[[str], None] = lambda _: None,
        install: Callable[[], bool] = may_install,
    ) -> None:
        self._known = known
        self._apt = apt
        self._say = say
        self._install = install
        self._lock = threading.Lock()

    def need_all(self) -> dict[str, Path]:
        """Paths of all tools that every lab needs, as `need`."""
        return self.need(*(name for name, tool in self._known.items() if not tool.optional))

    def need(self, *names: str) -> dict[str, Path]:
        """Paths of tools, installing all missing ones in one go where that is allowed.

        Args:
            names: As in the lock. Optional ones that cannot be had are left out of the answer.

        Raises:
            PreflightError: Some are missing; names them all and the command that brings them.
        """
        found = self._find(names)
        missing = [name for name in names if name not in found]
        if not missing:
            return found
        with self._lock:
            if self._install() and (packages := self._packages(missing)):
                self._install_packages(packages)
            found = self._find(names)
        lacking = [name for name in names if name not in found and not self._optional(name)]
        if lacking:
            packages = self._packages(lacking)
            msg = f"programs are missing on this machine: {', '.join(lacking)}"
            raise PreflightError(
                msg, next_step=f"as root: apt-get install --no-install-recommends {' '.join(packages) or '…'}"
            )
        return found

    @staticmethod
    def _find(names: Iterable[str]) -> dict[str, Path]:
        return {name: path for name in names if (path := which(name))}

    def _optional(self, name: str) -> bool:
        return name in self._known and self._known[name].optional

    def _packages(self, names: Iterable[str]) -> list[str]:
        words = " ".join(self._known[name].package for name in names if name in self._known).split()
        return list(dict.fromkeys(words))

    def _install_packages(self, packages: list[str]) -> None:
        """Install; a failure shows as tools that are still missing."""
        self._say(f"installing with apt-get: {', '.join(packages)}")
        with heartbeat(self._say, "installing with apt-get"):
            done = self._apt.install(packages)
        if not done.ok:
            self._say(f"apt-get failed: {done.tail(2)}")
