"""What is known of a lab between two calls: written before each thing is made, so that a crash loses nothing."""

from __future__ import annotations

import json
import os
from ipaddress import IPv4Address
from pathlib import Path

from pydantic import Field, ValidationError

from harness.errors import UsageError
from harness.model.base import Record
from harness.model.spec import LabSpec
from harness.providers.namespaces.layout import LabLayout


class MachineState(Record):
    """A machine that was, or was about to be, started."""

    name: str
    address: IPv4Address
    pid: int = Field(default=0, description="Its init; 0 before the start")
    started: int = Field(default=0, description="Start time of that process in clock ticks: PIDs are reused")


class LabState(Record):
    """Content of `state.json`."""

    schema_: int = Field(default=1, alias="schema")
    name: str
    created: str = Field(description="RFC 3339, UTC")
    spec: LabSpec
    owner: int = Field(default=0, description="PID of the harness that brings it up")
    ready: bool = Field(default=False, description="Bring-up ended well")
    run: str = Field(default="", description="Run directory of the bring-up")
    programs: str = Field(default="", description="Directory of the lab's programs")
    api_port: int = Field(default=0, description="Port on the host's loopback that leads to the API server")
    raised: dict[str, int] = Field(default_factory=dict, description="Old values of limits that this lab raised")
    machines: tuple[MachineState, ...] = ()

    def machine(self, name: str) -> MachineState:
        """One machine by name."""
        return next(machine for machine in self.machines if machine.name == name)


def start_time(pid: int) -> int:
    """Start time of a living process in clock ticks since boot, else 0 (proc(5), /proc/pid/stat field 22)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    # The second field is the program's name in parentheses and may hold anything, also spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    return 0 if fields[0] in {"Z", "X"} else int(fields[19])


def alive(machine: MachineState) -> bool:
    """The init that was started is still that process."""
    return machine.pid > 0 and start_time(machine.pid) == machine.started != 0


def write(layout: LabLayout, state: LabState) -> None:
    """Replace the state file as a whole, and on disk before anything relies on it."""
    layout.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = layout.state_file.with_suffix(".new")
    with scratch.open("w", encoding="utf-8") as file:
        json.dump(state.model_dump(mode="json", by_alias=True), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(layout.state_file)


def read(layout: LabLayout) -> LabState | None:
    """The state of a lab, None when there is no such lab.

    Raises:
        UsageError: The file is damaged; `down` still works, since it needs only the name.
    """
    try:
        text = layout.state_file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        return LabState.model_validate_json(text)
    except ValidationError as error:
        msg = f"the state file of lab '{layout.name}' is damaged"
        raise UsageError(
            msg,
            cause=str(error).splitlines()[0],
            where=str(layout.state_file),
            next_step=f"'cnilab down {layout.name}' clears it",
        ) from error


def names(state: Path) -> list[str]:
    """All labs that have a directory, complete or not."""
    labs = state / "labs"
    return sorted(entry.name for entry in labs.iterdir() if entry.is_dir()) if labs.is_dir() else []
