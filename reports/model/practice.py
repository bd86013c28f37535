"""Labs, and the faults that test the suite."""

from __future__ import annotations

from dataclasses import dataclass

from reports.model.common import EvidenceItem, Mark


@dataclass(frozen=True)
class CheckRow:
    """An expectation of a lab's step and whether it was met."""

    mark: Mark
    expectation: str
    observed: str
    reason: str


@dataclass(frozen=True)
class Claim:
    """What people often say, and what is true instead."""

    said: str
    truth: str


@dataclass(frozen=True)
class Series:
    """One line of a plot: a number for every moment of the plot."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Plot:
    """Numbers over time.

    Args:
        title: What is plotted.
        unit: What the numbers count.
        at: Moments, in seconds since the first.
        series: Lines, at most six.
    """

    title: str
    unit: str
    at: tuple[float, ...]
    series: tuple[Series, ...]


@dataclass(frozen=True)
class StepRow:
    """A step of a lab.

    Args:
        anchor: Its id.
        id: Name within the lab.
        title: For people.
        place: Where the command ran.
        prompt: `#` for root, `$` for the operator.
        command: As one would type it.
        output: What it printed, shortened.
        lines: How many lines that was.
        mark: The worst of its expectations.
        exit_status: Of the command.
        checks: Its expectations.
        claims: Common claims that the step corrects.
        seconds: How long it took.
        transcript: File with everything, relative to the run directory.
        evidence: Tables and captures.
        plots: Numbers over time.
    """

    anchor: str
    id: str
    title: str
    place: str
    prompt: str
    command: str
    output: str
    lines: int
    mark: Mark
    exit_status: int | None
    checks: tuple[CheckRow, ...]
    claims: tuple[Claim, ...]
    seconds: float
    transcript: str
    evidence: tuple[EvidenceItem, ...]
    plots: tuple[Plot, ...] = ()


@dataclass(frozen=True)
class LabCard:
    """A lab with its steps."""

    anchor: str
    id: str
    title: str
    mark: Mark
    status: str
    summary: str
    reason: str
    steps: tuple[StepRow, ...]
    claims: int
    seconds: float


@dataclass(frozen=True)
class FaultRow:
    """A fault injected and the checks that saw it."""

    anchor: str
    fault: str
    title: str
    inject: str
    mark: Mark
    outcome: str
    killed_by: tuple[str, ...]
    survived: tuple[str, ...]
    imprecise: tuple[str, ...]
    told: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Faults:
    """The mutation test of the suite."""

    rows: tuple[FaultRow, ...]
    killed: int
    counted: int


@dataclass(frozen=True)
class MutationCell:
    """A check under a fault.

    Args:
        row: Number of the fault.
        column: Number of the check.
        mark: What the check said, held against the catalogue.
        title: The same as a sentence.
    """

    row: int
    column: int
    mark: Mark
    title: str


@dataclass(frozen=True)
class Mutations:
    """Faults times checks.

    Args:
        faults: Id and title of each that was injected.
        checks: Ids, those of an area side by side.
        killed: How many faults killed each check.
        cells: All that are not empty.
        legend: Marks with how many cells have them.
        entire: All checks were judged under each fault, so that an empty cell is one that passed.
    """

    faults: tuple[tuple[str, str], ...]
    checks: tuple[str, ...]
    killed: tuple[int, ...]
    cells: tuple[MutationCell, ...]
    legend: tuple[tuple[Mark, int], ...]
    entire: bool
