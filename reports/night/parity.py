"""Labs by cells: the same lab everywhere, or the reason why not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from reports.model import LabCard, Mark
from reports.night.cells import Cell
from reports.night.model import Absent, GridCell, GridRow, Parity
from reports.text import natural

HOLE: Final = Mark("muted", "–", "not run")

Catalogue = Sequence[tuple[str, str]]
"""Ids and titles of all labs that there are."""


class _Reasons:
    """Numbers reasons in the order in which a reader meets them."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def number(self, reason: str) -> int:
        return self.known.setdefault(reason, len(self.known) + 1)


def parity(cells: Sequence[Cell], absent: Sequence[Absent], catalogue: Catalogue) -> Parity | None:
    """The table; None when no lab is known.

    Args:
        cells: Runs of the night.
        absent: Cells without a run.
        catalogue: All labs that there are; those that no run tried have rows, too.
    """
    titles: dict[str, str] = dict(catalogue)
    for cell in cells:
        for card in cell.labs.values():
            titles[card.id] = titles.get(card.id) or card.title
    if not titles or not (cells or absent):
        return None
    reasons = _Reasons()
    rows = [
        GridRow(
            id=lab,
            title=titles[lab],
            level="",
            cells=(
                *(_cell(cell, lab, reasons) for cell in cells),
                *(_hole(one.name, lab, f"not run: {one.reason}", reasons) for one in absent),
            ),
        )
        for lab in sorted(titles, key=natural)
    ]
    columns = (*(cell.name for cell in cells), *(one.name for one in absent))
    return Parity(columns, tuple(rows), tuple(reasons.known))


def _cell(cell: Cell, lab: str, reasons: _Reasons) -> GridCell:
    card = cell.labs.get(lab)
    if card is None:
        return _hole(cell.name, lab, f"not run: {_why_not(cell)}", reasons)
    if card.status == "skip":
        return _hole(cell.name, lab, card.reason or "skipped", reasons, cell.link(card.anchor))
    return GridCell(card.mark, cell.link(card.anchor), f"{cell.name}, {lab}: {_told(card)}")


def _told(card: LabCard) -> str:
    return "as expected" if card.mark.tone in ("good", "note") else card.summary


def _why_not(cell: Cell) -> str:
    if cell.labs:
        return "not among the requested labs"
    if cell.verdict.tone == "lab" and not cell.requirements:
        return f"the cluster did not come up ({cell.verdict.detail})"
    return "labs were not applied"


def _hole(cell: str, lab: str, reason: str, reasons: _Reasons, href: str = "") -> GridCell:
    return GridCell(HOLE, href, f"{cell}, {lab}: {reason}", reasons.number(reason))
