"""Ordinary programs of the machine: found on PATH, or installed with apt when that is allowed."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from harness.caller import says_yes
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


def advice(known: Mapping[str, Tool], missing: Iterable[str], *, coming: bool) -> str:
    """How missing programs come to this machine.

    Args:
        known: The lock's table of tools.
        missing: Names in it.
        coming: `up` will install them.
    """
    words = f"apt-get install {' '.join(packages(known, missing))}"
    return f"up installs them: {words}" if coming else words


def packages(known: Mapping[str, Tool], names: Iterable[str]) -> list[str]:
    """The packages that have programs, each once; a program that is not in the table has none."""
    words = " ".join(known[name].package for name in names if name in known).split()
    return list(dict.fromkeys(words))


def offline() -> bool:
    """Whether the user said that nothing must be fetched."""
    return says_yes("CNILAB_OFFLINE")


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

    def install(self, *names: str) -> None:
        """Install tools that are missing, where that is allowed; who needs them says what is still missing."""
        self._install_missing(names)

    def need(self, *names: str) -> dict[str, Path]:
        """Paths of tools, installing all missing ones in one go where that is allowed.

        Args:
            names: As in the lock. Optional ones that are not available are left out of the answer.

        Raises:
            PreflightError: Some are missing; names them all and the command that brings them.
        """
        self._install_missing(names)
        found = self._find(names)
        lacking = [name for name in names if name not in found and not self._optional(name)]
        if lacking:
            msg = f"programs are missing on this machine: {', '.join(lacking)}"
            wanted = " ".join(packages(self._known, lacking)) or "…"
            raise PreflightError(msg, next_step=f"as root: apt-get install --no-install-recommends {wanted}")
        return found

    def _install_missing(self, names: Sequence[str]) -> None:
        if len(self._find(names)) == len(names):
            return
        with self._lock:
            found = self._find(names)
            wanted = packages(self._known, (name for name in names if name not in found))
            if wanted and self._install():
                self._install_packages(wanted)

    def _find(self, names: Iterable[str]) -> dict[str, Path]:
        return {name: path for name in names if (path := self._path(name))}

    def _path(self, name: str) -> Path | None:
        if name in self._known and self._known[name].file:
            path = Path(self._known[name].file)
            return path if path.exists() else None
        return which(name)

    def _optional(self, name: str) -> bool:
        return name in self._known and self._known[name].optional

    def _install_packages(self, wanted: list[str]) -> None:
        """Install; a failure shows as tools that are still missing."""
        self._say(f"installing with apt-get: {', '.join(wanted)}")
        with heartbeat(self._say, "installing with apt-get"):
            done = self._apt.install(wanted)
        if not done.ok:
            self._say(f"apt-get failed: {done.tail(2)}")
