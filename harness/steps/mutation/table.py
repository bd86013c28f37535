"""From records of runs to the mutation table, its score, and what is new since the one before. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from harness.faults.model import Fault, split_target
from harness.model.mutation import Cell, Column, MutationTable
from harness.model.records import Census, FaultRun
from harness.model.run import RunInfo
from harness.steps.faults.weigh import Scope, again

WITHOUT_VERDICT: Final = frozenset({"equivalent", "not-applicable", "error"})
"""Outcomes that say nothing about checks."""


@dataclass(frozen=True)
class Score:
    """What a column comes to.

    Args:
        counts: Faults by outcome.
        missing: Faults of the catalogue that were not run.
    """

    counts: Mapping[str, int]
    missing: int

    @property
    def noticed(self) -> int:
        """Faults that every check noticed that must."""
        return self.counts.get("killed", 0) + self.counts.get("imprecise", 0)

    @property
    def injected(self) -> int:
        """Faults that were injected and weighed."""
        return self.noticed + self.counts.get("survived", 0)

    @property
    def precise(self) -> int:
        """Faults that were noticed by these checks alone, and by those of which the catalogue says why."""
        return self.counts.get("killed", 0)


def column(info: RunInfo, census: Census, runs: Iterable[FaultRun], catalogue: Mapping[str, Fault]) -> Column:
    """A network's column, weighed by the catalogue as it is now.

    Args:
        info: Of the run.
        census: Of the checks.
        runs: Records; of a fault that was run again the last one counts.
        catalogue: Faults by id; a record of one that is there no more is left out.
    """
    scope = Scope(census.gates, census.deviations)
    last = {one.fault: again(catalogue[one.fault], one, scope) for one in runs if one.fault in catalogue}
    return Column(
        variant=info.variant,
        nodes=info.nodes,
        kubernetes=info.kubernetes,
        kernel=info.host.get("kernel", ""),
        versions={pin.name: pin.version for pin in info.pins if "/" not in pin.name},  # images have their programs'
        program=info.version,
        checks=census.checks,
        unsteady=census.unsteady,
        recorded=census.recorded,
        cells=tuple(_cell(last[name], info.started) for name in catalogue if name in last),
    )


def _cell(run: FaultRun, started: str) -> Cell:
    return Cell(
        fault=run.fault,
        outcome=run.outcome,
        killed_by=run.killed_by,
        survived=run.survived,
        imprecise=run.imprecise,
        beside=run.beside,
        unjudged=run.unjudged,
        left_out=len(run.left_out),
        judged=run.judged,
        named=run.named,
        causes=len(run.causes),
        reason=run.detail.partition("\n")[0] if run.outcome in WITHOUT_VERDICT else "",
        at=run.began or started,
        seconds=run.seconds,
    )


def joined(columns: Sequence[Column]) -> Column:
    """One column of several runs on one network, oldest first: of a fault the last run counts."""
    newest = columns[-1]
    cells = {cell.fault: cell for one in columns for cell in one.cells}
    return newest.model_copy(update={"cells": tuple(cells.values())})


def updated(old: MutationTable, new: Sequence[Column], order: Sequence[str]) -> MutationTable:
    """The table with new columns; cells that were not run again stay, with their dates.

    Args:
        old: The table before.
        new: Columns that were run.
        order: Ids of faults as the catalogue has them: others are left out.
    """
    columns = {one.variant: one for one in old.columns}
    for one in new:
        columns[one.variant] = joined([columns[one.variant], one]) if one.variant in columns else one
    place = {name: number for number, name in enumerate(order)}
    ordered = [
        one.model_copy(
            update={
                "cells": tuple(
                    sorted((cell for cell in one.cells if cell.fault in place), key=lambda cell: place[cell.fault])
                )
            }
        )
        for one in columns.values()
    ]
    table = MutationTable(columns=tuple(ordered))
    return table.model_copy(update={"changes": tuple(changes(old, table)), "before": newest(old)})


def newest(table: MutationTable) -> str:
    """The date of the newest cell; empty when there is none."""
    return max((cell.at for one in table.columns for cell in one.cells), default="")


def score(one: Column, order: Sequence[str]) -> Score:
    """What a column comes to."""
    there = {cell.fault for cell in one.cells}
    return Score(Counter(cell.outcome for cell in one.cells), sum(name not in there for name in order))


def bad(cell: Cell) -> bool:
    """The suite, or the catalogue, is not right: exit code 1."""
    if cell.outcome in {"equivalent", "not-applicable"}:
        return not cell.reason
    return cell.outcome != "killed"


def unkilled(one: Column) -> list[str]:
    """Checks of a column that no fault killed, though each was judged."""
    killed = {split_target(target)[0] for cell in one.cells for target in cell.killed_by}
    return [name for name in one.checks if name not in killed]


def changes(old: MutationTable, new: MutationTable) -> Iterator[str]:
    """What is other than in the table before, as sentences: first what became worse.

    Args:
        old: The table before.
        new: The one of now; what it has of the old one unchanged says nothing.
    """
    worse, better = list[str](), list[str]()
    known = {one.variant: {cell.fault: cell for cell in one.cells} for one in old.columns}
    for one in new.columns:
        if one.variant not in known:
            continue
        for cell in one.cells:
            was = known[one.variant].get(cell.fault)
            if was is not None and was != cell:
                _compare(one.variant, was, cell, worse, better)
        killed = {split_target(target)[0] for cell in known[one.variant].values() for target in cell.killed_by}
        worse += [f"{one.variant}: no fault kills {name} any more" for name in unkilled(one) if name in killed]
    yield from worse
    yield from better


def _compare(variant: str, was: Cell, cell: Cell, worse: list[str], better: list[str]) -> None:
    where = f"{variant}, {cell.fault}"
    if was.outcome != cell.outcome:
        (better if cell.outcome == "killed" else worse).append(f"{where}: {was.outcome} before, {cell.outcome} now")
    worse += [f"{where}: new survived: {name}" for name in cell.survived if name not in was.survived]
    worse += [f"{where}: new imprecise: {name}" for name in cell.imprecise if name not in was.imprecise]
    if cell.outcome not in WITHOUT_VERDICT and was.outcome not in WITHOUT_VERDICT:
        lost = [name for name in was.killed_by if name not in {*cell.killed_by, *cell.survived}]
        worse += [f"{where}: no longer killed by {name}" for name in lost]
        better += [f"{where}: now killed by {name}, too" for name in cell.killed_by if name not in was.killed_by]
