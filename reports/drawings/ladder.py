"""An MTU ladder: one rung per datagram size, what passed and what was refused."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from reports.model import Ladder
from reports.svg import drawing, line, rect, text

WIDTH: Final = 580
ROW: Final = 26
LEFT: Final = 56
ROOM: Final = 270
"""Width of the longest bar."""


def ladder(data: Ladder) -> Markup:
    """Draw a ladder.

    Args:
        data: From `panels.mtu`.
    """
    top = max((rung.size for rung in data.rungs), default=1)
    height = len(data.rungs) * ROW + 22
    shapes: list[Markup] = []
    for index, rung in enumerate(data.rungs):
        y = 20 + index * ROW
        width = ROOM * rung.size / top
        shapes += [
            text(LEFT - 10, y + 14, str(rung.size), "mono", anchor="end"),
            rect(LEFT, y + 3, width, ROW - 10, f"bar {rung.mark.tone}", r=3, title=f"{rung.size} bytes: {rung.text}"),
            text(LEFT + ROOM + 14, y + 14, f"{rung.mark.glyph} {rung.text}", f"small {rung.mark.tone}"),
        ]
    if data.expected:
        x = LEFT + ROOM * data.expected / top
        shapes += [
            line(x, 14, x, height - 4, "limit"),
            text(x, 10, f"{data.expected}", "tiny muted", anchor="middle"),
        ]
    words = "; ".join(f"{rung.size} bytes: {rung.text}" for rung in data.rungs)
    return drawing(WIDTH, height, f"{data.src} to {data.dst}, {data.kind}: {words}", "ladder", *shapes)
