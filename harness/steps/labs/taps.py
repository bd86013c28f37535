"""Captures of a step: places by their names, packets by the names of taps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.model.records import Tap as TapRecord
from harness.model.spot import Spot
from harness.probes import capture
from harness.steps.labs.place import TapWanted


@dataclass(frozen=True)
class Listening:
    """Where captures go.

    Args:
        run: The run directory.
        stem: Of the files' names.
    """

    run: Path
    stem: str


@contextmanager
def listening(
    where: Listening, wanted: Sequence[TapWanted], spot_of: Callable[[str], Spot]
) -> Iterator[dict[str, TapRecord]]:
    """Capture while the context is open; the dictionary is filled when it closes.

    Args:
        where: Files.
        wanted: Where to listen, in the order of the path.
        spot_of: Finds a place.
    """
    points = []
    for tap in wanted:
        spot = spot_of(tap.on)
        node = spot.facts.get("node", {}).get("name", spot.name)
        points.append(capture.TapPoint(node, spot.name, tap.interface, spot.runner, " ".join(tap.filter)))
    found: dict[str, TapRecord] = {}
    with capture.listen(points, flow=where.stem, batch="labs", run=where.run, name=f"lab-{where.stem}") as running:
        yield found
    found |= {tap.name: record for tap, record in zip(wanted, running.stop(), strict=True)}
