"""The last runs of each cell, and what changes its mind in them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

from reports import marks
from reports.model import Mark
from reports.night.cells import Cell
from reports.night.grid import cell_mark
from reports.night.history import BROKEN, HELD, Entry, before
from reports.night.model import FlakyTest, Trend, TrendBar
from reports.text import clock, plural

LAST: Final = 30
"""Runs that are looked at."""

MOST_FLAKY: Final = 20

_MARKS: Final[dict[str, Mark]] = {
    "good": marks.PASS,
    "bad": marks.FAIL,
    "warn": marks.FLAKY,
    "lab": marks.ERROR,
    "muted": marks.UNTESTED,
    "note": marks.RECORD,
}


def trend(cell: Cell, history: Sequence[Entry]) -> Trend:
    """The last runs of a cell, this one included.

    Args:
        cell: The run.
        history: Of all cells.
    """
    entries = [*before(history, cell.entry), cell.entry][-LAST:]
    good = sum(entry.tone in ("good", "warn") for entry in entries)
    return Trend(
        cell=cell.name,
        bars=tuple(_bar(entry) for entry in entries),
        summary=f"{good} of {plural(len(entries), 'run')} as expected, now: {cell_mark(cell).word}",
    )


def _bar(entry: Entry) -> TrendBar:
    # Of all verdicts: a run of labs alone has no requirement.
    held, broken = (sum(len(entry.verdicts.get(one, ())) for one in kind) for kind in (HELD, BROKEN))
    share = held / (held + broken) if held + broken else 0.0
    return TrendBar(_MARKS[entry.tone], share, f"{clock(entry.started)}: {entry.sentence}")


def flaky(cells: Sequence[Cell], history: Sequence[Entry]) -> tuple[FlakyTest, ...]:
    """Requirements and labs that changed their verdict, or passed only after a retry, the worst first.

    The score is (changes between as required and not + passes on retry) / runs with a verdict, of the last 30 runs.
    Where nothing was judged, as in a run that failed early, a run does not count.

    Args:
        cells: Runs of the night.
        history: Of all cells.
    """
    found: list[FlakyTest] = []
    for cell in cells:
        entries = [*before(history, cell.entry), cell.entry][-LAST:]
        names = dict.fromkeys(name for entry in entries for name in entry.status)
        found += [one for name in names if (one := _judge(cell, name, entries)) is not None]
    found.sort(key=lambda one: (-one.score, one.id, one.cell))
    return tuple(found[:MOST_FLAKY])


def _judge(cell: Cell, name: str, entries: Sequence[Entry]) -> FlakyTest | None:
    seen = [(entry, entry.status[name]) for entry in entries if entry.status.get(name) in HELD | BROKEN]
    good = [status in HELD for _, status in seen]
    changes = sum(one != other for one, other in itertools.pairwise(good))
    retries = sum(status == "flaky" for _, status in seen)
    # One change is news, not flakiness: something broke, or was mended.
    if changes < 2 and not retries:
        return None
    parts = [plural(changes, "change")] if changes else []
    parts += [plural(retries, "pass on retry", "passes on retry")] if retries else []
    lab = name.removeprefix("lab:")
    return FlakyTest(
        id=name if lab == name else f"lab {lab}",
        cell=cell.name,
        bars=tuple(
            TrendBar(_of(status), 1.0 if status in HELD else 0.0, f"{clock(entry.started)}: {_of(status).word}")
            for entry, status in seen
        ),
        score=(changes + retries) / len(seen),
        summary=f"{' and '.join(parts)} in {plural(len(seen), 'run')}",
    )


def _of(status: str) -> Mark:
    return {"flaky": marks.FLAKY, "advice": marks.ADVICE}.get(status) or marks.of_status(status)
