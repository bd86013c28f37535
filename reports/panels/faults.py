"""The mutation test of the suite: each fault must be seen by the checks that claim to see it."""

from __future__ import annotations

from harness.model.records import FaultRun
from reports.model import FaultRow, Faults, Mark
from reports.text import Ids, natural, shorten

_TOLD, _LINES = 400, 8

_MARKS = {
    "killed": Mark("good", "✓", "seen"),
    "survived": Mark("bad", "✗", "missed"),
    "imprecise": Mark("warn", "~", "detected, but by too many checks"),
    "equivalent": Mark("muted", "=", "has no effect here"),
    "not-applicable": Mark("muted", "–", "not applicable here"),
    "error": Mark("lab", "!", "could not be injected"),
}


def faults(runs: list[FaultRun], ids: Ids) -> Faults | None:
    """The fault matrix; None when no fault was injected.

    Args:
        runs: The last run of each fault.
        ids: Gives `fault-F01`.
    """
    if not runs:
        return None
    rows = tuple(
        FaultRow(
            anchor=ids.new("fault", run.fault),
            fault=run.fault,
            title=run.title[:1].upper() + run.title[1:],
            inject=run.inject,
            mark=_MARKS[run.outcome],
            outcome=_MARKS[run.outcome].word,
            killed_by=run.killed_by,
            survived=run.survived,
            imprecise=run.imprecise,
            told=tuple(shorten(line, _TOLD) for line in run.detail.splitlines() if line)[:_LINES],
            seconds=run.seconds,
        )
        for run in sorted(runs, key=lambda run: natural(run.fault))
    )
    counted = [run for run in runs if run.outcome in ("killed", "survived", "imprecise")]
    return Faults(rows, sum(run.outcome != "survived" for run in counted), len(counted))
