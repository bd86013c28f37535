"""Control groups of a lab: one below each hierarchy, found again without asking the harness that made them."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness import timeouts
from harness.enter import Hierarchy, hierarchies, this_machine, unified_group

__all__ = [
    "TOP",
    "Hierarchy",
    "groups",
    "hierarchies",
    "kill_all",
    "processes",
    "remove",
    "unified_group",
    "with_suffix",
]

TOP = "cnilab"


def groups(lab: str) -> list[Path]:
    """A lab's groups, one in each hierarchy; existing or not.

    Args:
        lab: Name of the lab's group, `LabLayout.group`.
    """
    return [hierarchy.path / TOP / lab for hierarchy in this_machine()]


def with_suffix(suffix: str, where: Iterable[Hierarchy]) -> dict[str, int]:
    """Labs that have a group, whether anything else is known of them or not: names, and how many processes.

    Args:
        suffix: End of the groups' names, `layout.group_suffix` of a state directory.
        where: Hierarchies.
    """
    found: dict[str, int] = {}
    for hierarchy in where:
        with contextlib.suppress(OSError):
            for group in (hierarchy.path / TOP).glob(f"*{suffix}"):
                name = group.name.removesuffix(suffix)
                found[name] = max(found.get(name, 0), len(set(processes(group))))
    return found


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
    for _ in timeouts.ticks(timeouts.PROCESS_EXIT, 0.005, 0.05, scale=timeouts.stretched):
        left = {pid for group in groups(lab) for pid in processes(group)}
        if not left:
            return set()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    return left


def remove(lab: str) -> list[str]:
    """Remove a lab's groups, and the top group when it was the last lab.

    Returns:
        Groups that could not be removed, and why.
    """
    left: list[str] = []
    for group in groups(lab):
        for directory, _children, _files in os.walk(group, topdown=False):
            if why := _rmdir(Path(directory)):
                left.append(f"{directory}: {why}")
        top = group.parent
        if top.is_dir() and not any(entry.is_dir() for entry in top.iterdir()):
            _rmdir(top)
    return left


def _rmdir(group: Path) -> str:
    """Remove one group; the kernel says EBUSY for a moment after its last process has ended. Says what else it says."""
    why = ""
    for _ in timeouts.ticks(2.0, 0.005, 0.05):
        try:
            group.rmdir()
        except FileNotFoundError:
            return ""
        except OSError as error:
            why = error.strerror or str(error)
            if error.errno != errno.EBUSY:
                break
        else:
            return ""
    return why
