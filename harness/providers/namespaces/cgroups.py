"""Control groups of a lab: one below each hierarchy, found again without asking the harness that made them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness import timeouts

TOP = "cnilab"


@dataclass(frozen=True)
class Hierarchy:
    """A mounted cgroup hierarchy.

    Args:
        path: Mount point.
        unified: cgroup v2.
    """

    path: Path
    unified: bool


def hierarchies(mountinfo: str) -> list[Hierarchy]:
    """The hierarchies of this machine: several on v1 and hybrid machines, one on v2.

    Args:
        mountinfo: Content of /proc/self/mountinfo (proc(5)).
    """
    found: dict[str, Hierarchy] = {}
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _source, options = [*rest.split(), "", "", ""][:3]
        if kind not in {"cgroup", "cgroup2"} or fields.split()[3] != "/":
            continue
        # Several mount points of one hierarchy have the same options; the first is enough.
        key = options if kind == "cgroup" else kind
        found.setdefault(key, Hierarchy(Path(fields.split()[4]), kind == "cgroup2"))
    return list(found.values())


def this_machine() -> list[Hierarchy]:
    """The hierarchies of the machine that the harness runs on."""
    return hierarchies(Path("/proc/self/mountinfo").read_text(encoding="utf-8"))


@cache
def _unified() -> Path | None:
    return next((hierarchy.path for hierarchy in this_machine() if hierarchy.unified), None)


def unified_group(process: str) -> Path | None:
    """The cgroup v2 that a process is in; None without cgroup v2, or when the process is gone.

    Args:
        process: Its directory in a proc file system, as /proc/1.
    """
    root = _unified()
    try:
        lines = Path(process, "cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    return root / found if root is not None and found is not None else None


def groups(lab: str) -> list[Path]:
    """A lab's groups, one in each hierarchy; existing or not.

    Args:
        lab: Name of the lab's group, `LabLayout.group`.
    """
    return [hierarchy.path / TOP / lab for hierarchy in this_machine()]


def processes(group: Path) -> Iterator[int]:
    """PIDs in a group and all groups below it."""
    for directory, _children, _files in os.walk(group):
        try:
            text = (Path(directory) / "cgroup.procs").read_text(encoding="ascii")
        except OSError:
            continue  # gone while we looked
        # 0 stands for a process of another PID namespace; it cannot be a lab's, whose PIDs the host all sees.
        yield from (int(pid) for pid in text.split() if pid != "0")


def kill_all(lab: str) -> set[int]:
    """End every process of a lab, and wait until the kernel has done so.

    Returns:
        PIDs that were still there at the deadline; empty is good.
    """
    left: set[int] = set()
    for _ in timeouts.ticks(timeouts.PROCESS_EXIT, 0.005, 0.05):
        left = {pid for group in groups(lab) for pid in processes(group)}
        if not left:
            return set()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    return left


def remove(lab: str) -> list[Path]:
    """Remove a lab's groups, and the top group when it was the last lab.

    Returns:
        Groups that could not be removed.
    """
    left: list[Path] = []
    for group in groups(lab):
        for directory, _children, _files in os.walk(group, topdown=False):
            if not _rmdir(Path(directory)):
                left.append(Path(directory))
        top = group.parent
        if top.is_dir() and not any(entry.is_dir() for entry in top.iterdir()):
            _rmdir(top)
    return left


def _rmdir(group: Path) -> bool:
    """Remove one group; the kernel says EBUSY for a moment after its last process has ended."""
    for _ in timeouts.ticks(2.0, 0.005, 0.05):
        try:
            group.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            continue
        return True
    return False
