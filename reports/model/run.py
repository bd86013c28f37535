"""Where the time went, and what the run was made of."""

from __future__ import annotations

from dataclasses import dataclass

from reports.model.common import Fact, Tone


@dataclass(frozen=True)
class Bar:
    """A step on the timeline, in seconds since the start of the run."""

    step: str
    title: str
    start: float
    end: float
    depth: int
    tone: Tone
    state: str


@dataclass(frozen=True)
class Timeline:
    """Where the time went."""

    phases: tuple[tuple[str, tuple[Bar, ...]], ...]
    total: float
    notes: tuple[tuple[float, str], ...]
    left_out: int = 0


@dataclass(frozen=True)
class PinRow:
    """A program or image of the cluster."""

    name: str
    version: str
    source: str
    digest: str
    edits: str = ""


@dataclass(frozen=True)
class Environment:
    """What the run was made of."""

    facts: tuple[Fact, ...]
    host: tuple[Fact, ...]
    pins: tuple[PinRow, ...]
    spec: str
    files: tuple[Fact, ...]
    problems: tuple[str, ...]
