"""The history: one line per run, with a verdict per requirement and lab, kept from night to night."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from typing import Final

from pydantic import Field, ValidationError

from harness.model.base import Record
from reports.model import Tone

KEEP: Final = 365
"""Lines that are kept of each cell."""

HELD: Final = frozenset({"pass", "flaky", "record"})
BROKEN: Final = frozenset({"fail", "error", "advice"})
UNTRIED: Final = frozenset({"skip", "not-applicable"})


class Entry(Record):
    """One run."""

    schema_: int = Field(default=1, alias="schema")
    id: str = Field(description="Of the run directory")
    key: str = Field(description="provider/kernel/variant/Kubernetes minor/nodes: runs of one key are compared")
    started: str = Field(description="RFC 3339, UTC")
    seconds: float | None = None
    tone: Tone
    sentence: str
    held: int = 0
    judged: int = 0
    verdicts: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="Status to ids of requirements, and of labs with 'lab:' before them"
    )
    pins: dict[str, str] = Field(default_factory=dict, description="Name to version and digest")
    phases: dict[str, float] = Field(default_factory=dict, description="Seconds")

    @cached_property
    def status(self) -> dict[str, str]:
        """Id of a requirement or lab to its status."""
        return {name: status for status, names in self.verdicts.items() for name in names}


def parse(text: str) -> tuple[list[Entry], int]:
    """Read `history.jsonl`.

    Args:
        text: Its content.

    Returns:
        The entries, and how many lines could not be read.
    """
    entries, unread = [], 0
    for line in text.split("\n"):
        if not line.strip():
            continue
        try:
            entries.append(Entry.model_validate_json(line))
        except ValidationError:
            unread += 1
    return entries, unread


def merged(known: Iterable[Entry], new: Iterable[Entry]) -> list[Entry]:
    """The history with further runs, the oldest first. A run that is there already is replaced, not repeated."""
    by_id = {entry.id: entry for entry in (*known, *new)}
    ordered = sorted(by_id.values(), key=lambda entry: (entry.started, entry.id))
    left = Counter(entry.key for entry in ordered)
    kept = []
    for entry in ordered:
        if left[entry.key] <= KEEP:
            kept.append(entry)
        left[entry.key] -= 1
    return kept


def dump(entries: Iterable[Entry]) -> str:
    """The content of `history.jsonl`."""
    return "".join(entry.line() + "\n" for entry in entries)


def before(entries: Iterable[Entry], this: Entry) -> list[Entry]:
    """Earlier runs of the same cell, the oldest first."""
    found = [one for one in entries if one.key == this.key and one.id != this.id and one.started <= this.started]
    return sorted(found, key=lambda entry: (entry.started, entry.id))
