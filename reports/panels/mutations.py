"""Faults times checks: which check noticed which fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from harness.model.records import Census, FaultRun
from reports.model import Mark, MutationCell, Mutations
from reports.text import natural

KILLED = Mark("good", "✓", "killed it, as it must")
BESIDE = Mark("note", "·", "failed beside others, as the catalogue says it may")
MISSED = Mark("bad", "✗", "missed it")
TOO_MANY = Mark("warn", "~", "failed, and should not have")
NO_VERDICT = Mark("lab", "!", "gave no verdict")

MARKS = (KILLED, BESIDE, MISSED, TOO_MANY, NO_VERDICT)
"""From what is as it should be to what is not."""


def mutations(runs: Sequence[FaultRun], census: Census | None) -> Mutations | None:
    """The matrix of a run; None when no fault was injected.

    Args:
        runs: The last run of each fault.
        census: Which checks were judged under each; None where only those were that a fault names.
    """
    injected = sorted(
        (run for run in runs if run.outcome in {"killed", "survived", "imprecise"}), key=lambda run: natural(run.fault)
    )
    if not injected:
        return None
    found = [dict(_said(run)) for run in injected]
    judged = census.checks if census is not None else ()
    checks = tuple(sorted({*judged, *(name for row in found for name in row)}))
    place = {name: number for number, name in enumerate(checks)}
    cells = tuple(
        MutationCell(row, place[name], mark, f"{run.fault}, {name}: {mark.word}")
        for row, run in enumerate(injected)
        for name, mark in sorted(found[row].items())
    )
    counts = Counter(cell.mark for cell in cells)
    killed = Counter(cell.column for cell in cells if cell.mark == KILLED)
    return Mutations(
        faults=tuple((run.fault, run.title) for run in injected),
        checks=checks,
        killed=tuple(killed[number] for number in range(len(checks))),
        cells=cells,
        legend=tuple((mark, counts[mark]) for mark in MARKS),
        entire=census is not None,
    )


def _said(run: FaultRun) -> Iterator[tuple[str, Mark]]:
    """Checks of a fault with what they said; of two legs of a check the worse one comes last, and counts."""
    yield from ((name, NO_VERDICT) for name in run.unjudged)
    yield from ((name, BESIDE) for name in run.beside)
    for targets, mark in ((run.killed_by, KILLED), (run.imprecise, TOO_MANY), (run.survived, MISSED)):
        yield from ((target.partition("[")[0], mark) for target in targets)
