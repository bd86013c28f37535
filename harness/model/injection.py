"""What is broken on purpose in a cluster, and how it is taken back: `faults.json` in the cluster's directory.

It is written before the first command of a fault runs, and again before each one that follows. So whoever reads it can
take back what was done, whatever became of the process that did it. All words of all commands are in it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Literal

from pydantic import Field, ValidationError

from harness import files, timeouts
from harness.errors import NotYoursError, UsageError
from harness.model.base import Data
from harness.model.family import Family
from harness.model.labstate import LabDir

FILE: Final = "faults.json"

SCHEMA: Final = 1

Part = Literal["command", "table", "link", "program"]
"""What a command is for: the fault itself, its table, a link that it saved, or a program that it stopped."""


class Where(Data):
    """A place, so that another process finds it again."""

    name: str = Field(description="As the fault calls it: `n1`, `a`, `x/a`, `kubectl`")
    kind: Literal["node", "pod", "api"]
    namespace: str = ""
    pod: str = ""
    sandbox: str = Field(default="", description="ID of the pod's sandbox: a pod that was made again has another one")


class Act(Data):
    """A command with all its words, and what its end means."""

    run: tuple[str, ...]
    input: str = ""
    may_fail: bool = Field(default=False, description="Any exit status is fine")
    deadline: float = Field(default=timeouts.COMMAND, description="Seconds that it may take")
    part: Part = "command"
    problem: str = Field(default="", description="What is wrong when it fails, if that says more than its name")


class Step(Act):
    """A command in a place that another process finds again."""

    where: Where


class Injection(Data):
    """A fault that is injected, perhaps in part."""

    fault: str
    name: str
    title: str
    family: Family
    secret: bool = Field(default=False, description="Whoever looks at the cluster is not told which fault it is")
    began: str = Field(description="RFC 3339, UTC")
    complete: bool = Field(default=False, description="All commands ran")
    clearing: bool = Field(default=False, description="It is being taken back: the first step of `undo` may have run")
    did: tuple[Step, ...] = Field(default=(), description="Commands that ran; of the last one it is not certain")
    undo: tuple[Step, ...] = Field(default=(), description="Commands that take back what ran, in order")
    failed: tuple[Step, ...] = Field(default=(), description="Those that failed; they are tried again")


class Injections(Data):
    """The file."""

    schema_: Literal[1] = Field(default=SCHEMA, alias="schema")
    injected: tuple[Injection, ...] = Field(default=(), description="In the order of injection")


def read(place: LabDir) -> tuple[Injection, ...]:
    """What is injected in a cluster, in the order of injection.

    Raises:
        UsageError: The file is damaged, or of another version.
        NotYoursError: The cluster belongs to somebody else.
    """
    path = place.path / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except PermissionError as error:
        raise NotYoursError(place.state, error) from error
    try:
        return Injections.model_validate_json(text).injected
    except ValidationError as error:
        msg = f"the record of what is injected in cluster '{place.name}' cannot be read"
        step = f"clear the faults with the version that injected them, or run 'cnilab down {place.name}'"
        raise UsageError(msg, cause=str(error).splitlines()[0], where=str(path), next_step=step) from error


def write(place: LabDir, injected: Sequence[Injection]) -> None:
    """Replace the file in one step, mode 0600; there is none where nothing is injected."""
    path = place.path / FILE
    if not injected:
        path.unlink(missing_ok=True)
        return
    draft = path.with_suffix(".new")
    files.write_private(draft, Injections(injected=tuple(injected)).model_dump_json(by_alias=True, indent=1))
    draft.replace(path)


@contextmanager
def held(place: LabDir) -> Iterator[None]:
    """The record, for as long as the body runs: nobody else injects or clears meanwhile.

    Raises:
        UsageError: Somebody does.
    """
    descriptor = os.open(place.path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            msg = f"another command injects or clears faults in cluster '{place.name}' now"
            raise UsageError(msg, next_step="wait until it has ended") from error
        yield
    finally:
        os.close(descriptor)


def phrase(injected: Sequence[Injection]) -> str:
    """What is injected, for people; of secret faults only how many there are: `F05 fwd-off, and 1 secret fault`."""
    known = [f"{one.fault} {one.name}" for one in injected if not one.secret]
    hidden = len(injected) - len(known)
    if hidden:
        known.append(f"{'and ' if known else ''}{hidden} secret fault{'s' if hidden > 1 else ''}")
    return ", ".join(known)


def require_none(place: LabDir, what: str) -> None:
    """Insist on a cluster in which nothing is broken on purpose.

    Args:
        place: The cluster's directories.
        what: For what, as `the labs`.

    Raises:
        UsageError: Something is.
    """
    if injected := read(place):
        msg = f"cluster '{place.name}' has injected faults, but {what} needs one without"
        step = f"cnilab fault clear --cluster {place.name}"
        raise UsageError(msg, cause=f"injected: {phrase(injected)}", next_step=step)
