"""What the runs of a night were made of: a difference between cells may be the machine's, not the variant's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reports.model import Fact
from reports.night.cells import Cell
from reports.night.model import Difference, Surroundings
from reports.panels.verdict import kubernetes_version
from reports.text import natural


def surroundings(cells: Sequence[Cell]) -> Surroundings:
    """Facts and pins, those that all cells share apart from those that differ."""
    facts: dict[str, Callable[[Cell], str]] = {
        "cnilab": lambda cell: cell.info.version,
        "Kubernetes": lambda cell: kubernetes_version(cell.info),
        "node count": lambda cell: str(cell.info.nodes),
    }
    host = dict.fromkeys(name for cell in cells for name in cell.info.host)
    facts |= {name: lambda cell, name=name: cell.info.host.get(name, "") for name in host}  # type: ignore[misc]
    rows = [Difference(name.replace("_", " "), tuple(read(cell) for cell in cells)) for name, read in facts.items()]
    return Surroundings(
        common=tuple(Fact(row.name, row.values[0]) for row in rows if len(set(row.values)) == 1 and row.values[0]),
        facts=tuple(row for row in rows if len(set(row.values)) > 1),
        pins=tuple(_pins(cells)),
        same_pins=len(_names(cells)) - len(_pins(cells)),
    )


def _names(cells: Sequence[Cell]) -> list[str]:
    return sorted({pin.name for cell in cells for pin in cell.info.pins}, key=natural)


def _pins(cells: Sequence[Cell]) -> list[Difference]:
    """Pins of which cells have different ones; a pin that a variant does not need is no difference."""
    rows = []
    for name in _names(cells):
        full = [
            next(
                (
                    f"{pin.version} {pin.digest.removeprefix('sha256:')[:12]}"
                    for pin in cell.info.pins
                    if pin.name == name
                ),
                "",
            )
            for cell in cells
        ]
        if len({text for text in full if text}) > 1:
            versions = {text.split(" ")[0] for text in full if text}
            # Where only the digests differ, they are the news.
            rows.append(Difference(name, tuple(full if len(versions) == 1 else [text.split(" ")[0] for text in full])))
    return rows
