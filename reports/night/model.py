"""Everything that the page of a night shows."""

from __future__ import annotations

from dataclasses import dataclass

from reports.model import Count, Fact, Mark, Tone


@dataclass(frozen=True)
class NightVerdict:
    """The banner.

    Args:
        tone: Its colour.
        subject: What was run.
        sentence: `6 of 7 cells as they should be, 1 fails`.
        detail: What changed, in a sentence.
        counts: Numbers under the sentence.
        started: Of the first run, RFC 3339.
        seconds: From the first start to the last end, as far as known.
    """

    tone: Tone
    subject: str
    sentence: str
    detail: str
    counts: tuple[Count, ...]
    started: str
    seconds: float | None


@dataclass(frozen=True)
class ChangeItem:
    """Something that is not as it was: what, before, now."""

    id: str
    title: str
    href: str
    before: str
    now: str


@dataclass(frozen=True)
class ChangeGroup:
    """Changes of one kind in one cell.

    Args:
        mark: Of the kind.
        items: The first of them.
        more: How many more there are.
    """

    mark: Mark
    items: tuple[ChangeItem, ...]
    more: int = 0

    @property
    def count(self) -> int:
        """How many in all."""
        return len(self.items) + self.more

    @property
    def told(self) -> str:
        """`2 new failures`; a lab that failed is not counted, since a cell has one."""
        if self.mark.tone == "lab" and not self.items[0].id:
            return self.mark.word
        first, _, rest = self.mark.word.partition(" ")
        many = {"new": f"new {rest}s" if rest else "new", "recommendation": f"recommendations {rest}"}
        return f"{self.count} {many.get(first, self.mark.word) if self.count > 1 else self.mark.word}"


@dataclass(frozen=True)
class CellChanges:
    """What changed in a cell since its last run with verdicts.

    Args:
        cell: Name of the cell.
        anchor: Of this entry.
        since: Id of that run; empty when there is none.
        when: When it started.
        groups: Worst first.
        pins: Programs, images and the kernel whose versions are others.
    """

    cell: str
    anchor: str
    since: str
    when: str
    groups: tuple[ChangeGroup, ...]
    pins: tuple[ChangeItem, ...]

    @property
    def quiet(self) -> bool:
        """Nothing changed, or nothing is known of the time before."""
        return not self.groups and not self.pins


@dataclass(frozen=True)
class Share:
    """A part of a whole in a table: `12/12`.

    Args:
        mark: The worst of its parts.
        text: The numbers; empty where nothing was judged.
        href: Where the parts are.
        title: In words.
        trend: `↑` or `↓` against the last run; empty when nothing moved.
    """

    mark: Mark
    text: str
    href: str
    title: str
    trend: str = ""


@dataclass(frozen=True)
class CellRow:
    """A run of the night, as a row of the matrix.

    Args:
        anchor: Its id.
        name: `flannel`, `cilium on kind`.
        subject: With versions.
        sentence: Its verdict.
        mark: Of the verdict.
        href: The run's own page; empty where there is none.
        areas: One per area of the page.
        labs: Labs as expected.
        took: How long it took.
        again: The command line that does it again.
        note: What else to know: an earlier run of the same night.
        cause: The first thing that is wrong; empty where nothing is, or nothing explains it.
    """

    anchor: str
    name: str
    subject: str
    sentence: str
    mark: Mark
    href: str
    areas: tuple[Share, ...]
    labs: Share
    took: str
    again: str
    note: str = ""
    cause: str = ""


@dataclass(frozen=True)
class Absent:
    """A cell that was planned and has no run."""

    anchor: str
    name: str
    reason: str


@dataclass(frozen=True)
class GridCell:
    """One requirement or lab in one cell.

    Args:
        mark: Its status.
        href: Where it is told; empty where nothing is.
        title: For the pointer and for screen readers.
        why: Number of the reason of a hole, from 1; 0: none.
    """

    mark: Mark
    href: str
    title: str
    why: int = 0


@dataclass(frozen=True)
class GridRow:
    """A requirement, or a lab, in all cells."""

    id: str
    title: str
    level: str
    cells: tuple[GridCell, ...]

    @property
    def needs_attention(self) -> bool:
        """True when a person should read it first."""
        return any(cell.mark.tone in ("bad", "warn", "lab") for cell in self.cells)


@dataclass(frozen=True)
class GridArea:
    """Rows of one subject."""

    name: str
    rows: tuple[GridRow, ...]


@dataclass(frozen=True)
class Parity:
    """Labs by cells, with a reason for each hole."""

    columns: tuple[str, ...]
    rows: tuple[GridRow, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class TrendBar:
    """A past run of a cell: how it ended, and the part of its requirements that held."""

    mark: Mark
    share: float
    title: str


@dataclass(frozen=True)
class Trend:
    """The last runs of a cell, the oldest first."""

    cell: str
    bars: tuple[TrendBar, ...]
    summary: str


@dataclass(frozen=True)
class FlakyTest:
    """A requirement or lab that changes its mind.

    Args:
        id: Of the requirement, or `lab:` and that of the lab.
        cell: Where.
        bars: Its last runs.
        score: Status changes and passes on retry, by runs.
        summary: `2 changes and 1 pass on retry in 12 runs`.
    """

    id: str
    cell: str
    bars: tuple[TrendBar, ...]
    score: float
    summary: str


@dataclass(frozen=True)
class Difference:
    """A fact or a pin that is not the same in all cells."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Surroundings:
    """What the runs were made of: what all have in common, and what differs."""

    common: tuple[Fact, ...]
    facts: tuple[Difference, ...]
    pins: tuple[Difference, ...]
    same_pins: int


@dataclass(frozen=True)
class Night:
    """The whole page."""

    title: str
    verdict: NightVerdict
    changes: tuple[CellChanges, ...]
    cells: tuple[CellRow, ...]
    absent: tuple[Absent, ...]
    area_names: tuple[str, ...]
    grid: tuple[GridArea, ...]
    parity: Parity | None
    trends: tuple[Trend, ...]
    flaky: tuple[FlakyTest, ...]
    surroundings: Surroundings
    problems: tuple[str, ...]
