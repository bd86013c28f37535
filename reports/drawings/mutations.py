"""Faults times checks as squares: a row for each fault, a column for each check."""

from __future__ import annotations

from itertools import groupby
from typing import Final

from markupsafe import Markup

from reports.model import Mutations
from reports.svg import drawing, element, line, rect, text

CELL: Final = 11
GAP: Final = 1
LEFT: Final = 46
TOP: Final = 172
"""Room for the names of checks, which are written upwards."""

MARGIN: Final = 8


def mutation_matrix(data: Mutations) -> Markup:
    """Draw the matrix; empty cells are left out.

    Args:
        data: The matrix.
    """
    width = LEFT + CELL * len(data.checks) + MARGIN
    height = TOP + CELL * len(data.faults) + MARGIN
    shapes: list[Markup] = []
    for number, (fault, title) in enumerate(data.faults):
        y = TOP + CELL * number
        if number % 2 == 0:
            shapes.append(rect(LEFT, y, width - LEFT - MARGIN, CELL, "stripe", title=f"{fault} {title}"))
        shapes.append(text(LEFT - 5, y + CELL - 2, fault, "mono tiny", anchor="end"))
    for number, name in enumerate(data.checks):
        shapes.append(_upwards(LEFT + CELL * number + CELL - 2, TOP - 5, name, missed=not data.killed[number]))
    left = LEFT
    for _, group in groupby(data.checks, key=lambda name: name.partition(".")[0]):
        shapes.append(line(left, TOP, left, height - MARGIN, "area"))
        left += CELL * len(list(group))
    size = CELL - GAP
    for cell in data.cells:
        x, y = LEFT + CELL * cell.column, TOP + CELL * cell.row
        shapes.append(rect(x + GAP / 2, y + GAP / 2, size, size, f"cell {cell.mark.tone}", r=1.5, title=cell.title))
    label = f"{len(data.faults)} faults by {len(data.checks)} checks; the table of faults has the same in words"
    return drawing(width, height, label, "mutations", *shapes)


def _upwards(x: float, y: float, name: str, *, missed: bool) -> Markup:
    """The name of a check; one that no fault killed stands out."""
    title = element("title", f"{name}: no fault killed it" if missed else name)
    return element(
        "text",
        name,
        title,
        x=x,
        y=y,
        class_=f"mono tiny {'warn' if missed else ''}".strip(),
        transform=f"rotate(-90 {x} {y})",
    )
