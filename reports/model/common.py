"""What every panel uses: statuses that do not depend on colour, facts, evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tone = Literal["good", "bad", "warn", "lab", "muted", "note"]
"""good: as expected; bad: the network is at fault; warn: a recommendation, or flaky; lab: the cluster is at fault."""


@dataclass(frozen=True)
class Mark:
    """A status that does not depend on colour.

    Args:
        tone: Decides the colour.
        glyph: One character.
        word: What a screen reader says.
    """

    tone: Tone
    glyph: str
    word: str


@dataclass(frozen=True)
class Fact:
    """A name, a value, and perhaps a remark: `kernel`, `6.18`, `no loadable modules`."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class EvidenceItem:
    """Something that proves a verdict.

    Args:
        kind: socket, pcap, kernel …
        facts: Short values by name.
        text: As a program printed it.
        title: Of the table.
        columns: Headings of a table.
        rows: Its cells.
        path: A file of the run directory, to be linked.
    """

    kind: str
    facts: tuple[Fact, ...]
    text: str = ""
    title: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    path: str = ""
