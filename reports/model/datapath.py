"""The eBPF datapath of nodes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ProgramRow:
    """A program and where it is attached.

    Args:
        program: Its name, without the interface that the loader appends.
        hook: `clsact/ingress`, `cgroup_inet4_connect` …
        places: Interfaces; empty for a program for sockets.
    """

    program: str
    hook: str
    places: tuple[str, ...]


@dataclass(frozen=True)
class CountRow:
    """A number before and after the suite's traffic between pods."""

    what: str
    before: int
    after: int

    @property
    def change(self) -> int:
        """How many came, or went."""
        return self.after - self.before


@dataclass(frozen=True)
class DatapathNode:
    """One node."""

    name: str
    programs: tuple[ProgramRow, ...]
    maps: tuple[CountRow, ...]
    verdicts: tuple[CountRow, ...]
    command: str
