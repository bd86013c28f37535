"""Taking a lab away."""

from __future__ import annotations

import os
from pathlib import Path

from harness.enter import this_machine
from harness.model import labstate
from harness.model.journal import Journal
from harness.model.labstate import LabDir, LabState
from harness.providers import registry
from harness.providers.namespaces import cgroups
from harness.providers.namespaces.layout import group_suffix


def without_state(directory: Path) -> list[str]:
    """Names of labs that run, and whose directory somebody has removed: their control groups tell of them.

    Args:
        directory: The state directory of all labs.
    """
    found = cgroups.with_suffix(group_suffix(directory), this_machine())
    return sorted(set(found) - set(labstate.names(directory)))


def made_by_this_process(directory: Path, name: str) -> bool:
    """Whether this process brought the lab up, or was about to.

    Args:
        directory: The state directory of all labs.
        name: The lab's name.
    """
    known = labstate.read(LabDir(directory, name), LabState)
    return known is not None and known.owner == os.getpid()


def tear_down(directory: Path, name: str, journal: Journal) -> list[str]:
    """Remove a lab in whatever state it is; nothing happens when there is none.

    Args:
        directory: The state directory of all labs.
        name: The lab's name.
        journal: Gets one step.

    Returns:
        What is left, in words; empty is good.
    """
    with journal.step("down", f"cluster {name}") as detail:
        left = registry.delete(LabDir(directory, name))
        detail["left"] = left
    return left
