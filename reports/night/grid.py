"""Cells by areas, and requirements by cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from reports import marks
from reports.model import Area, Mark, Requirement
from reports.night.cells import Cell, status_of
from reports.night.history import BROKEN, HELD, Entry, before
from reports.night.model import CellRow, GridArea, GridCell, GridRow, Share
from reports.panels.requirements import area_name, area_order
from reports.text import Ids, duration, slug

_TONES: Final = {
    "good": Mark("good", "✓", "as expected"),
    "bad": Mark("bad", "✗", "fails"),
    "warn": Mark("warn", "~", "as expected, with remarks"),
    "lab": Mark("lab", "!", "the cluster failed"),
    "muted": Mark("muted", "·", "no verdict at all"),
    "note": Mark("note", "•", "recorded"),
}
NOTHING: Final = Mark("muted", "", "not judged")


def cell_mark(cell: Cell) -> Mark:
    """A cell's verdict as a mark."""
    return _TONES[cell.verdict.tone]


def areas_of(cells: Sequence[Cell]) -> tuple[str, ...]:
    """Areas of all requirements, in the order of the catalogue."""
    return tuple(sorted({area.key for cell in cells for area in _areas(cell)}, key=area_order))


def _areas(cell: Cell) -> tuple[Area, ...]:
    return cell.areas.areas if cell.areas is not None else ()


def _of_area(cell: Cell, key: str) -> tuple[Requirement, ...]:
    return next((area.requirements for area in _areas(cell) if area.key == key), ())


def row(cell: Cell, areas: Sequence[str], history: Sequence[Entry], ids: Ids, note: str = "") -> CellRow:
    """A cell as a row of the matrix.

    Args:
        cell: The run.
        areas: Columns.
        history: Of all cells, for the arrows.
        ids: Gives the anchor.
        note: What else to know.
    """
    earlier = [one for one in before(history, cell.entry) if one.verdicts]
    last = earlier[-1].status if earlier else {}
    return CellRow(
        anchor=ids.new("cell", cell.name),
        name=cell.name,
        subject=cell.verdict.subject,
        sentence=cell.verdict.sentence,
        mark=cell_mark(cell),
        href=cell.href,
        areas=tuple(_share(cell, area, last) for area in areas),
        labs=_labs(cell),
        took=duration(cell.verdict.seconds),
        again=cell.info.reproduce,
        note=note,
        cause=cell.cause,
    )


def _share(cell: Cell, area: str, last: dict[str, str]) -> Share:
    items = _of_area(cell, area)
    judged = [item for item in items if item.level != "RECORD" and item.status in ("pass", "fail", "error")]
    if not judged:
        return Share(NOTHING, "", "", f"{cell.name}: no requirement of {area_name(area)} was judged")
    held = sum(item.status == "pass" for item in judged)
    worst = marks.worst([item.mark for item in judged])
    was = [last[item.id] for item in judged if last.get(item.id) in HELD | BROKEN]
    then = sum(status in HELD for status in was) / len(was) if was else held / len(judged)
    now = held / len(judged)
    return Share(
        mark=worst,
        text=f"{held}/{len(judged)}",
        href=cell.link(slug("area", area)),
        title=f"{cell.name}, {area_name(area)}: {held} of {len(judged)} hold",
        trend="↑" if now > then else "↓" if now < then else "",
    )


def _labs(cell: Cell) -> Share:
    ran = [card for card in cell.labs.values() if card.status != "skip"]
    if not ran:
        return Share(NOTHING, "", "", f"{cell.name}: no lab ran")
    good = sum(card.mark.tone in ("good", "note") for card in ran)
    worst = marks.worst([card.mark for card in ran if card.mark.tone != "note"] or [marks.PASS])
    return Share(worst, f"{good}/{len(ran)}", cell.link("labs"), f"{cell.name}: {good} of {len(ran)} labs as expected")


def grid(cells: Sequence[Cell]) -> tuple[GridArea, ...]:
    """Requirements by cells, area by area."""
    return tuple(GridArea(area_name(area), tuple(_rows(cells, area))) for area in areas_of(cells))


def _rows(cells: Sequence[Cell], area: str) -> list[GridRow]:
    first: dict[str, Requirement] = {}
    for cell in cells:
        for item in _of_area(cell, area):
            first.setdefault(item.id, item)
    return [
        GridRow(name, item.title, item.level, tuple(_cell(cell, name) for cell in cells))
        for name, item in first.items()
    ]


def _cell(cell: Cell, name: str) -> GridCell:
    item = cell.requirements.get(name)
    if item is None:
        return GridCell(NOTHING, "", f"{cell.name}, {name}: not judged")
    detail = item.statement if status_of(item) in ("fail", "error", "advice") else item.reason
    return GridCell(
        item.mark,
        cell.link(item.anchor),
        f"{cell.name}, {name}: {item.mark.word}{'; ' if detail else ''}{detail}"[:300],
    )
