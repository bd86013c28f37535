"""A Gantt chart of the run's steps."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from reports.model import Bar, Timeline
from reports.svg import drawing, line, rect, text
from reports.text import duration

WIDTH: Final = 1120
LABEL: Final = 330
ROW: Final = 21
HEAD: Final = 28
PHASE: Final = 12
CHART: Final = WIDTH - LABEL - 64
_NICE: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 3600)
_MOST_TICKS: Final = 12


def timeline(data: Timeline) -> Markup:
    """Draw a timeline.

    Args:
        data: From `panels.timeline`.
    """
    total = max(data.total, 0.001)
    step = next((nice for nice in _NICE if total / nice <= _MOST_TICKS), 7200)
    shapes: list[Markup] = []
    height = HEAD + sum(len(bars) * ROW + PHASE for _, bars in data.phases)
    ticks = int(total / step) + 1
    for index in range(ticks):
        x = LABEL + CHART * index * step / total
        shapes.append(line(x, HEAD - 6, x, height, "grid"))
        shapes.append(text(x, HEAD - 12, _tick(index * step, total), "tiny muted", anchor="middle"))
    y = float(HEAD)
    for number, (_, bars) in enumerate(data.phases):
        if number:
            shapes.append(line(0, y - PHASE / 2, WIDTH, y - PHASE / 2, "grid"))
        for bar in bars:
            shapes += _bar(bar, y, total)
            y += ROW
        y += PHASE
    longest = sorted((bar for _, bars in data.phases for bar in bars), key=lambda bar: bar.start - bar.end)[:5]
    words = "; ".join(f"{bar.title} {duration(bar.end - bar.start)}" for bar in longest)
    return drawing(WIDTH, height, f"{duration(total)} in all. Longest steps: {words}", "timeline", *shapes)


def _tick(seconds: float, total: float) -> str:
    """`5 s` on a short run, `1:30` on one of minutes."""
    if total < 90:
        return f"{seconds:g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _bar(bar: Bar, y: float, total: float) -> list[Markup]:
    x = LABEL + CHART * bar.start / total
    width = max(2.5, CHART * (bar.end - bar.start) / total)
    took = duration(bar.end - bar.start) if bar.state != "did not end" else "did not end"
    if bar.state == "failed":
        took = f"failed after {took}"
    outside = x + width + 6
    fits = outside + len(took) * 6 < WIDTH
    indent = 14 * bar.depth
    return [
        text(indent, y + 14, bar.title, "small" if bar.depth else "strong", width=LABEL - 16 - indent, size=12),
        rect(
            x, y + 5, width, ROW - 9, f"bar {bar.tone}{' deep' if bar.depth else ''}", r=3, title=f"{bar.step}: {took}"
        ),
        text(outside if fits else x - 6, y + 14, took, "tiny mono muted", anchor="" if fits else "end"),
    ]
