"""What is known of a lab between two calls, whatever made it: where its files are, and `state.json`.

Every provider's state is a `LabState` with fields of its own. Whoever does not know the provider reads the common part,
and learns from its spec who can read the rest.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationError

from harness.errors import NotYoursError, PreflightError, UsageError
from harness.model.base import Record
from harness.model.spec import LAB_NAME, LabSpec


@dataclass(frozen=True)
class LabDir:
    """Directories of one lab.

    Args:
        state: The state directory of all labs.
        name: The lab's name.
    """

    state: Path
    name: str

    def __post_init__(self) -> None:
        """Refuse a name that would lead out of the state directory."""
        if not re.fullmatch(LAB_NAME, self.name):
            msg = f"{self.name[:60]!r} is not a valid name of a cluster"
            raise UsageError(msg, cause="a cluster's name is a DNS label of at most 30 characters: a-z, 0-9 and '-'")

    @property
    def path(self) -> Path:
        """Everything of the lab that is a file."""
        return self.state / "labs" / self.name

    @property
    def state_file(self) -> Path:
        """Written before anything is made."""
        return self.path / "state.json"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's, mode 0600."""
        return self.path / "kubeconfig"

    @property
    def client_kubeconfig(self) -> Path:
        """The same, with keys in files beside it; for this program's own use."""
        return self.path / "client/kubeconfig"


class LabState(Record):
    """The part of `state.json` that every provider has."""

    schema_: int = Field(default=1, alias="schema")
    name: str
    created: str = Field(description="RFC 3339, UTC")
    spec: LabSpec
    owner: int = Field(default=0, description="PID of the harness that brings it up")
    ready: bool = Field(default=False, description="Bring-up ended well")
    run: str = Field(default="", description="Run directory of the bring-up")
    programs: str = Field(default="", description="Directory of the cluster's programs")
    api_port: int = Field(default=0, description="Port on the host's loopback that leads to the API server")
    own: dict[str, str] = Field(default_factory=dict, description="Programs that the user brought, by their copies")


S = TypeVar("S", bound=LabState)


def write(place: LabDir, state: LabState) -> None:
    """Replace the state file as a whole, and on disk before anything relies on it."""
    place.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = place.state_file.with_suffix(".new")
    with scratch.open("w", encoding="utf-8") as file:
        json.dump(state.model_dump(mode="json", by_alias=True), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(place.state_file)


def read(place: LabDir, model: type[S]) -> S | None:
    """The state of a lab, None when there is no such lab.

    Args:
        place: The lab's directories.
        model: `LabState` for the common part, or a provider's own.

    Raises:
        UsageError: The file is damaged; `down` still works, since it needs only the name.
        NotYoursError: The lab belongs to somebody else.
    """
    try:
        text = place.state_file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise NotYoursError(place.state, error) from error
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        msg = f"the state file of cluster '{place.name}' is damaged"
        raise UsageError(
            msg,
            cause=str(error).splitlines()[0],
            where=str(place.state_file),
            next_step=f"'cnilab down {place.name}' removes it",
        ) from error


def names(state: Path) -> list[str]:
    """All labs that have a directory, complete or not.

    Raises:
        NotYoursError: They belong to somebody else.
    """
    try:
        return sorted(entry.name for entry in (state / "labs").iterdir() if entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except PermissionError as error:
        raise NotYoursError(state, error) from error


def no_such_lab(place: LabDir) -> UsageError:
    """The error for a cluster that is not there; names those that are."""
    others = ", ".join(names(place.state)) or "none"
    msg = f"there is no cluster named '{place.name}'"
    return UsageError(msg, cause=f"clusters on this machine: {others}", next_step="'cnilab up' creates one")


def require_free(place: LabDir) -> None:
    """Insist on that no cluster has this name.

    Raises:
        PreflightError: One is up, or left over from a crash.
        NotYoursError: All clusters there belong to somebody else.
    """
    if place.name in names(place.state):
        msg = f"there is already a cluster named '{place.name}'"
        raise PreflightError(
            msg,
            where=str(place.path),
            next_step=f"'cnilab down {place.name}' removes it; '--name other' creates a second one",
        )


def start_time(pid: int) -> int:
    """Start time of a living process in clock ticks since boot, else 0 (proc(5), /proc/pid/stat field 22)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    # The second field is the program's name in parentheses and may hold anything, also spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    return 0 if fields[0] in {"Z", "X"} else int(fields[19])
