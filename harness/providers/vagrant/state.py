"""What is known of a lab on Vagrant between two calls, and the names of all that it makes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import Field

from harness.model import labstate
from harness.model.labstate import LabDir, write

__all__ = ["VagrantState", "folder", "mark", "read", "ssh_config", "unique_name", "write"]

FOLDER = "vagrant"
"""In the lab's directory: what was rendered, and what Vagrant keeps beside it."""


class VagrantState(labstate.LabState):
    """Content of `state.json`."""

    started: bool = Field(default=False, description="All machines ran, and were reached")


def read(place: LabDir) -> VagrantState | None:
    """The state of a lab, None when there is no such lab; see `labstate.read`."""
    return labstate.read(place, VagrantState)


def folder(place: LabDir) -> Path:
    """Where Vagrant works."""
    return place.path / FOLDER


def ssh_config(place: LabDir) -> Path:
    """How machines are reached, as Vagrant says."""
    return folder(place) / "ssh_config"


def mark(place: LabDir) -> str:
    """Tells labs of one name apart that are kept in two state directories: a hypervisor's names are all of one kind."""
    return hashlib.blake2b(str(place.state.resolve()).encode(), digest_size=4).hexdigest()


def unique_name(place: LabDir) -> str:
    """What the hypervisor's names of a lab begin with; no other lab's do."""
    return f"cnilab-{place.name}-{mark(place)}"
