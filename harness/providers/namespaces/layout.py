"""Where the files of a lab are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from harness.model.labstate import LabDir


@dataclass(frozen=True)
class MachineLayout:
    """Directories of one machine.

    Args:
        path: `<lab>/machines/<name>`.
    """

    path: Path

    @property
    def name(self) -> str:
        """The machine's name."""
        return self.path.name

    @property
    def root(self) -> Path:
        """Mount point of its root file system, in its own mount namespace; empty as the host sees it."""
        return self.path / "root"

    @property
    def data(self) -> Path:
        """Directories that are bind-mounted into the machine, under their own paths."""
        return self.path / "data"

    @property
    def log(self) -> Path:
        """The machine's /var/log/cnilab: one file per service, and `exits.json`."""
        return self.data / "var/log/cnilab"

    @property
    def spec(self) -> Path:
        """What nodeinit is told."""
        return self.path / "nodeinit.json"

    @property
    def pid(self) -> Path:
        """PID of the machine's init, as the host sees it."""
        return self.path / "pid"

    @property
    def cni_upper(self) -> Path:
        """What the machine changes in /opt/cni/bin."""
        return self.path / "cni/upper"

    @property
    def cni_work(self) -> Path:
        """The work directory that overlayfs wants beside it."""
        return self.path / "cni/work"


def group_suffix(state: Path) -> str:
    """The end of the control groups' names of a state directory's labs; no lab's name can hold its dot."""
    return "." + hashlib.blake2b(str(state.resolve()).encode(), digest_size=4).hexdigest()


@dataclass(frozen=True)
class LabLayout(LabDir):
    """Directories of one lab of namespaces; arguments as of `LabDir`."""

    @property
    def group(self) -> str:
        """Name of the lab's control group.

        It depends on the state directory too: labs of one name in two state directories are two labs, and taking one
        down must not touch the other.
        """
        return f"{self.name}{group_suffix(self.state)}"

    def machine(self, name: str) -> MachineLayout:
        """Directories of one machine."""
        return MachineLayout(self.path / "machines" / name)
