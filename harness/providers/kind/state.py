"""What is known of a lab on kind between two calls, beside what every provider keeps."""

from __future__ import annotations

import hashlib

from pydantic import Field

from harness.model import labstate
from harness.model.base import Record
from harness.model.family import Address
from harness.model.labstate import LabDir
from harness.providers.kind import answers


class MachineState(Record):
    """A container of the lab."""

    name: str
    address: Address
    id: str = Field(description="The engine's")
    pid: int = Field(default=0, description="Its first process; 0 when the engine runs on another machine")


class KindState(labstate.LabState):
    """Content of `state.json`."""

    host: str = Field(default="", description="DOCKER_HOST of the bring-up; empty: the default engine")
    image: str = Field(default="", description="Node image")
    network: str = Field(default="", description="Name of the cluster's Docker network")
    machines: tuple[MachineState, ...] = ()


def read(place: LabDir) -> KindState | None:
    """The state of a lab, None when there is no such lab; see `labstate.read`."""
    return labstate.read(place, KindState)


def mark(place: LabDir) -> str:
    """Tells labs of one name apart that are kept in two state directories."""
    return hashlib.blake2b(str(place.state.resolve()).encode(), digest_size=4).hexdigest()


def labels(place: LabDir) -> dict[str, str]:
    """Labels of everything that the lab makes itself."""
    return {answers.LAB: place.name, answers.STATE: mark(place)}


def image_name(place: LabDir) -> str:
    """Name of the node image of this lab alone, where there is one."""
    return f"cnilab.dev/guarded-node:{place.name}-{mark(place)}"


def network_name(place: LabDir) -> str:
    """Name of the network of the nodes."""
    return f"cnilab-{place.name}-{mark(place)}"
