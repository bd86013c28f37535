"""Sparklines: one column per run, its height the part that held, its colour and form the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from reports.night.model import TrendBar
from reports.svg import drawing, element, rect

_STEP: Final = 9
_WIDTH: Final = 7
_TOP: Final = 7
"""Room for the dots."""

_HEIGHT: Final = 30
_LEAST: Final = 4
_SLOTS: Final = 30


def spark(bars: Sequence[TrendBar], label: str) -> Markup:
    """A sparkline; the newest run is on the right.

    Args:
        bars: The oldest first.
        label: What a screen reader says of it.
    """
    shown = list(bars)[-_SLOTS:]
    offset = _SLOTS - len(shown)
    shapes = [_column((offset + index) * _STEP, bar) for index, bar in enumerate(shown)]
    base = element("line", x1=0, y1=_HEIGHT + 1, x2=_SLOTS * _STEP, y2=_HEIGHT + 1, class_="base")
    return drawing(_SLOTS * _STEP, _HEIGHT + 2, label, "spark", base, *shapes)


def _column(x: float, bar: TrendBar) -> Markup:
    # What does not hold is a short column with a foot, so that it differs in more than colour.
    height = round(_LEAST + (_HEIGHT - _TOP - _LEAST) * bar.share, 1)
    column = rect(x, _HEIGHT - height, _WIDTH, height, f"bar {bar.mark.tone}", r=1.5, title=bar.title)
    if bar.mark.tone in ("good", "muted"):
        return column
    return Markup("{}{}").format(
        column, element("circle", cx=x + _WIDTH / 2, cy=3, r=2.2, class_=f"dot {bar.mark.tone}")
    )
