"""Numbers over time: lines over a grid, each with its name at its end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from markupsafe import Markup

from reports.model import Plot, Series
from reports.svg import circle, drawing, line, path, text

WIDTH: Final = 540
HEIGHT: Final = 210
LEFT: Final = 54
RIGHT: Final = 14
TOP: Final = 30
BOTTOM: Final = 26
_LEGEND: Final = 16
_MOST_TICKS: Final = 5
_DOTS: Final = 40
"""Samples that are marked one by one; of more only the line is drawn."""


def plot(data: Plot) -> Markup:
    """Draw a plot.

    Args:
        data: At least two samples; every series has a number for each.
    """
    span = max(data.at[-1] - data.at[0], 0.001)
    least = min(value for series in data.series for value in series.values)
    most = max(value for series in data.series for value in series.values)
    step = nice((most - least) / _MOST_TICKS)
    # A counter's history before the first sample says nothing: the axis starts near the lowest number.
    floor = math.floor(least / step) * step
    ceiling = max(math.ceil(most / step) * step, floor + step)
    top = TOP + _LEGEND * (len(data.series) - 1)
    height = HEIGHT + top - TOP

    def place(at: float, value: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * (at - data.at[0]) / span
        return x, height - BOTTOM - (height - BOTTOM - top) * (value - floor) / (ceiling - floor)

    shapes: list[Markup] = []
    for index in range(round((ceiling - floor) / step) + 1):
        value = floor + index * step
        _, y = place(data.at[0], value)
        shapes += [
            line(LEFT, y, WIDTH - RIGHT, y, "grid"),
            text(LEFT - 8, y + 4, short(value), "tiny muted", anchor="end"),
        ]
    every = nice(span / _MOST_TICKS)
    for index in range(int(span / every) + 1):
        x, _ = place(data.at[0] + index * every, floor)
        shapes.append(text(x, height - BOTTOM + 16, f"{index * every:g} s", "tiny muted", anchor="middle"))
    shapes.append(line(LEFT, height - BOTTOM, WIDTH - RIGHT, height - BOTTOM, "axis"))
    for number, series in enumerate(data.series):
        points = [place(at, value) for at, value in zip(data.at, series.values, strict=True)]
        shapes.append(path(points, f"s{number}"))
        if len(points) <= _DOTS:
            shapes += [circle(x, y, 2.2, f"s{number}") for x, y in points]
        shapes += _legend(number, series)
    words = "; ".join(_said(series) for series in data.series)
    return drawing(WIDTH, height, f"{data.title}, {data.unit} over {span:.1f} s: {words}", "plot", *shapes)


def _legend(number: int, series: Series) -> Iterator[Markup]:
    y = 8 + _LEGEND * number
    yield path([(LEFT, y), (LEFT + 22, y)], f"s{number}")
    yield text(LEFT + 30, y + 4, _said(series), "small", width=WIDTH - LEFT - RIGHT - 30)


def _said(series: Series) -> str:
    return f"{series.name}: {short(series.values[0])} to {short(series.values[-1])}"


def nice(rough: float) -> float:
    """The smallest of 1, 2, 5, 10, 20 … that is not less than a number; for counters never below one hundredth."""
    if rough <= 0.01:
        return 1.0 if rough <= 0 else 0.01
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * (1 - 1e-9))


def short(value: float) -> str:
    """`950`, `1.2k`, `34M`."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (limit if suffix != 'k' else 1e3):.4g}{suffix}"
    return f"{value:.6g}"
