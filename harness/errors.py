"""Errors that name the cause, the place and the next step.

Every error that reaches a user is a `CnilabError`. Its class decides the exit code of the command line, a superset of
pytest's codes, so that CI can tell "the network failed" (1) from "the cluster failed" (10 to 13).
"""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar


@dataclass
class CnilabError(Exception):
    """Something the user can act on.

    Args:
        what: One sentence: what could not be done. Starts in lower case, without a full stop.
        cause: Why, as far as it is known: the last lines of a program, an errno, a contradiction.
        where: The place: a file with line, a node, a step, a URL.
        next_step: What to do now: a command to type or a setting to change.
        log: Path of the log that has the whole story.
    """

    what: str
    cause: str = ""
    where: str = ""
    next_step: str = ""
    log: str = ""
    notes: list[str] = field(default_factory=list)

    exit_code: ClassVar[int] = 3

    @property
    def patience(self) -> float:
        """Seconds, before scaling, for which somebody who waits may go on in spite of it, in the hope that it heals.

        Zero ends a wait at once. A wait that goes on keeps the error: if its deadline passes, that is the cause.
        """
        return 0.0

    def __str__(self) -> str:
        """The whole error as plain text, one fact per line."""
        lines = [self.what]
        for label, value in (
            ("cause", self.cause),
            ("where", self.where),
            ("next", self.next_step),
            ("log", self.log),
        ):
            if value:
                first, *rest = value.splitlines() or [""]
                lines.append(f"  {label + ':':<7}{first}")
                lines += [" " * 9 + line for line in rest]
        lines += [f"  note:  {note}" for note in self.notes]
        return "\n".join(lines)


@dataclass
class NotYetError(CnilabError):
    """Something is not there yet, and says why: raised by the probes of waits, which then go on.

    Args:
        left: Of a wait for many: how many are still missing. Each time there are fewer, the wait has its whole
            deadline again: a slow machine is no reason to give up on what moves.
    """

    left: float = math.inf

    @property
    def patience(self) -> float:
        """As long as the wait has."""
        return math.inf


class UsageError(CnilabError):
    """The words of the call, or a file that it names, are wrong."""

    exit_code = 4


class NotYoursError(UsageError):
    """A state directory, or a cluster in it, belongs to somebody else: to root, as a rule."""

    def __init__(self, state: Path, reason: PermissionError) -> None:
        """Say whose clusters cannot be seen, and how they can.

        Args:
            state: The state directory of all clusters. It is named in the next step, since sudo changes HOME and drops
                variables.
            reason: What the system said.
        """
        super().__init__(
            f"you may not read the clusters of {state}",
            cause=str(reason),
            next_step=f"run it as root: sudo cnilab --state {shlex.quote(str(state))} …",
        )


class PreflightError(CnilabError):
    """This machine lacks something that the cluster needs; nothing was started."""

    exit_code = 10


class BringUpError(CnilabError):
    """A cluster could not be brought up, or one of its parts died."""

    exit_code = 11


class TearDownError(CnilabError):
    """Something of a cluster is still there after `down`."""

    exit_code = 12


class ReportError(CnilabError):
    """The report could not be written; the run itself is intact."""

    exit_code = 13


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a user's file.

    Args:
        where: `file:line:column`, as far as known.
        path: The field, as `spec.underlay.mtu`.
        message: What is wrong with it.
        expected: What would be right.
        hint: How to get there, when that is not obvious.
    """

    where: str
    path: str
    message: str
    expected: str = ""
    hint: str = ""

    def __str__(self) -> str:
        """`lab.yaml:7:3: spec.nodes: is 0; expected 1 to 20 (hint)`."""
        text = f"{self.where}: {self.path}: {self.message}"
        if self.expected:
            text += f"; expected {self.expected}"
        if self.hint:
            text += f" ({self.hint})"
        return text


class SpecError(UsageError):
    """A user's file is wrong; carries every problem at once."""

    def __init__(self, what: str, problems: list[Problem]) -> None:
        """Make one error of all problems.

        Args:
            what: Which file, as one sentence.
            problems: All that is wrong, in the order of the file.
        """
        super().__init__(what, cause="\n".join(str(problem) for problem in problems))
        self.problems = problems
