"""What is known of a lab of namespaces between two calls, beside what every provider keeps."""

from __future__ import annotations

from pydantic import Field

from harness.model import labstate
from harness.model.base import Record
from harness.model.family import Address
from harness.model.labstate import names, start_time, write
from harness.providers.namespaces.layout import LabLayout

__all__ = ["MachineState", "NamespacesState", "alive", "names", "read", "start_time", "write"]


class MachineState(Record):
    """A machine that was, or was about to be, started."""

    name: str
    address: Address
    pid: int = Field(default=0, description="Its init; 0 before the start")
    started: int = Field(default=0, description="Start time of that process in clock ticks: PIDs are reused")


class NamespacesState(labstate.LabState):
    """Content of `state.json`."""

    raised: dict[str, int] = Field(default_factory=dict, description="Old values of limits that this cluster raised")
    machines: tuple[MachineState, ...] = ()

    def machine(self, name: str) -> MachineState:
        """One machine by name."""
        return next(machine for machine in self.machines if machine.name == name)


def alive(machine: MachineState) -> bool:
    """The init that was started is still that process."""
    return machine.pid > 0 and start_time(machine.pid) == machine.started != 0


def read(layout: LabLayout) -> NamespacesState | None:
    """The state of a lab, None when there is no such lab; see `labstate.read`."""
    return labstate.read(layout, NamespacesState)
