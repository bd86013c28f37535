"""The requirement table."""

from __future__ import annotations

from dataclasses import dataclass

from harness.model.family import TITLE, Family
from reports.model.causes import Because
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
    earlier: str = ""
    """When it was judged, where that was before the run's last test: another one may say something else now."""
    families: tuple[tuple[Family, Mark], ...] = ()
    because: tuple[Because, ...] = ()

    @property
    def told(self) -> str:
        """What was seen, behind why it is so, where that is known."""
        why = [f"cause {one.number}: {one.sentence}" for one in self.because if one.sentence]
        return f"{'; '.join(why)}. Seen: {self.statement}" if why else self.statement

    @property
    def explained(self) -> bool:
        """Some cause says why it is not met, and says more than its own statement."""
        return any(one.sentence for one in self.because)

    @property
    def split(self) -> tuple[Family, Mark] | None:
        """The family of which the worse is to be said, where the two differ in what a reader should do."""
        tones = {mark.tone for _, mark in self.families} - {"note"}
        if len(self.families) < 2 or len(tones) < 2:
            return None
        order = ("good", "muted", "warn", "lab", "bad")
        return max(self.families, key=lambda one: order.index(one[1].tone) if one[1].tone in order else -1)

    @property
    def by_family(self) -> str:
        """`IPv4: pass, IPv6: fail`; empty where one family is alone."""
        if len(self.families) < 2:
            return ""
        return ", ".join(f"{TITLE[family]}: {mark.word}" for family, mark in self.families)

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

    @property
    def families(self) -> bool:
        """Some are judged for more than one family."""
        return any(len(item.families) > 1 for area in self.areas for item in area.requirements)
