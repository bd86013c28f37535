"""The requirement table."""

from __future__ import annotations

from dataclasses import dataclass

from reports.model.common import EvidenceItem, Fact, Mark


@dataclass(frozen=True)
class LegRow:
    """One part of a requirement's check."""

    leg: str
    mark: Mark
    statement: str
    expected: str
    observed: str


@dataclass(frozen=True)
class Requirement:
    """A requirement with its verdict."""

    anchor: str
    id: str
    title: str
    level: str
    mark: Mark
    status: str
    reason: str
    statement: str
    source: str
    tested: int
    total: int
    legs: tuple[LegRow, ...]
    controls: tuple[tuple[Mark, Fact], ...]
    evidence: tuple[EvidenceItem, ...]
    next: tuple[str, ...]
    gates: tuple[str, ...]
    blocked_by: str
    wall_ms: float
    flaky: bool

    @property
    def needs_attention(self) -> bool:
        """True when a person should read it first."""
        return self.mark.tone in ("bad", "warn", "lab")


@dataclass(frozen=True)
class Area:
    """All requirements of one subject.

    Args:
        anchor: Of its heading.
        key: As the catalogue has it.
        name: For people.
        requirements: In the order of the catalogue.
    """

    anchor: str
    key: str
    name: str
    requirements: tuple[Requirement, ...]

    @property
    def judged(self) -> int:
        """How many got a verdict."""
        return sum(item.status in ("pass", "fail", "error") for item in self.requirements)

    @property
    def held(self) -> int:
        """How many hold."""
        return sum(item.status == "pass" for item in self.requirements)


@dataclass(frozen=True)
class Requirements:
    """The requirement table: what needs attention, then everything by area."""

    attention: tuple[Requirement, ...]
    areas: tuple[Area, ...]
