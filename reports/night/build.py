"""From run directories and a history to everything that the page of a night shows. Knows no clock; changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reports.night.banner import banner
from reports.night.cells import Cell, Planned, Run, rank, read, told_apart
from reports.night.changes import changes
from reports.night.grid import areas_of, grid, row
from reports.night.history import Entry, merged
from reports.night.model import Absent, Night
from reports.night.parity import Catalogue, parity
from reports.night.surroundings import surroundings
from reports.night.trends import flaky, trend
from reports.panels.requirements import area_name
from reports.text import Ids, clock, plural


@dataclass(frozen=True)
class Made:
    """The page's content, and the history with these runs in it."""

    night: Night
    history: tuple[Entry, ...]


def build(
    runs: Sequence[Run], history: Sequence[Entry] = (), plan: Sequence[Planned] = (), labs: Catalogue = ()
) -> Made:
    """Make the report of a night.

    Args:
        runs: Run directories, whole or partial; of several runs of a cell the newest counts.
        history: Of earlier nights; entries of these runs are replaced.
        plan: Cells that were to run, in the order in which they are shown; without one, runs are ordered by name.
        labs: All labs that there are.

    Returns:
        Equal input gives equal output.
    """
    everything = sorted((read(run) for run in runs), key=lambda cell: (cell.info.started, cell.info.id))
    entries = merged(history, (cell.entry for cell in everything))
    cells, notes = _newest(_named(_placed(everything, plan)))
    ids = Ids()
    absent = tuple(Absent(ids.new("absent", one.name), one.name, one.reason) for one in _absent(cells, plan))
    areas = areas_of(cells)
    changed = tuple(changes(cell, entries, ids) for cell in cells)
    verdict = banner(cells, absent, changed)
    night = Night(
        title=f"Night of {clock(verdict.started)[:10] or 'no runs'}: {verdict.sentence}",
        verdict=verdict,
        changes=changed,
        cells=tuple(row(cell, areas, entries, ids, notes.get(cell.key, "")) for cell in cells),
        absent=absent,
        area_names=tuple(map(area_name, areas)),
        grid=grid(cells),
        parity=parity(cells, absent, labs),
        trends=tuple(trend(cell, entries) for cell in cells),
        flaky=flaky(cells, entries),
        surroundings=surroundings(cells),
        problems=tuple(f"{cell.info.id}: {problem}" for cell in cells for problem in cell.problems),
    )
    return Made(night, tuple(entries))


def _placed(cells: Sequence[Cell], plan: Sequence[Planned]) -> list[Cell]:
    """In the order of the plan, then by name."""
    keys = [one.key for one in plan]
    labs = [one.id for one in plan]

    def place(cell: Cell) -> tuple[int, tuple[int, str, str]]:
        if cell.key in keys:
            return keys.index(cell.key), rank(cell.key)
        return labs.index(cell.info.lab) if cell.info.lab in labs else len(plan), rank(cell.key)

    return sorted(cells, key=place)


def _named(cells: Sequence[Cell]) -> list[Cell]:
    keys = dict.fromkeys((cell.name, cell.key) for cell in cells)
    names = dict(zip(keys, told_apart(list(keys)), strict=True))
    return [replace(cell, name=names[cell.name, cell.key]) for cell in cells]


def _newest(cells: Sequence[Cell]) -> tuple[list[Cell], dict[str, str]]:
    """The last run of each cell, and by its key a note on how many there are."""
    by_key: dict[str, list[Cell]] = {}
    for cell in cells:
        by_key.setdefault(cell.key, []).append(cell)
    notes = {key: f"the newest of {plural(len(found), 'run')}" for key, found in by_key.items() if len(found) > 1}
    return [found[-1] for found in by_key.values()], notes


def _absent(cells: Sequence[Cell], plan: Sequence[Planned]) -> list[Planned]:
    keys = {cell.key for cell in cells}
    labs = {cell.info.lab for cell in cells}
    return [one for one in plan if one.key not in keys and one.id not in labs]
