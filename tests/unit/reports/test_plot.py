"""Plots: numbers over time, drawn the same way every time."""

from __future__ import annotations

import re

import pytest

from harness.model.records import Evidence, LabStep
from reports.drawings.plot import nice, plot, short
from reports.model import Plot, Series
from reports.panels.labs import labs
from reports.text import Ids

DATA = Plot(
    "Packets <forwarded>",
    "packets",
    (0.0, 0.5, 1.0, 2.0),
    (Series("egress", (100.0, 112.0, 131.0, 180.0)), Series("ingress", (100.0, 100.0, 100.0, 100.0))),
)


def numbers(drawn: str, shape: str) -> list[list[float]]:
    """Coordinates of the lines of a plot, its legend left out."""
    found = re.findall(rf'<path d="([^"]+)" class="{shape}">', drawn)
    return [[float(number) for number in re.findall(r"-?[\d.]+", one)] for one in found if one.count("L") > 1]


def test_a_line_rises_where_its_number_does_and_time_runs_to_the_right() -> None:
    (points,) = numbers(plot(DATA), "s0")
    xs, ys = points[::2], points[1::2]
    assert xs == sorted(xs)
    assert ys == sorted(ys, reverse=True)
    assert xs[1] - xs[0] == pytest.approx((xs[3] - xs[0]) / 4, abs=0.1)


def test_a_counter_that_stands_still_is_a_straight_line() -> None:
    (points,) = numbers(plot(DATA), "s1")
    assert len(set(points[1::2])) == 1


def test_names_are_escaped_and_a_screen_reader_hears_first_and_last() -> None:
    drawn = plot(DATA)
    assert "<forwarded>" not in drawn
    assert "egress: 100 to 180" in drawn
    assert plot(DATA) == drawn


def test_one_series_of_equal_numbers_can_be_drawn() -> None:
    assert "nan" not in plot(Plot("Nothing", "", (0.0, 0.0), (Series("none", (0.0, 0.0)),)))


@pytest.mark.parametrize(("rough", "step"), [(0, 1), (0.3, 0.5), (1, 1), (1.1, 2), (16, 20), (700, 1000)])
def test_grids_have_round_steps(rough: float, step: float) -> None:
    assert nice(rough) == pytest.approx(step)


@pytest.mark.parametrize(("value", "shown"), [(0, "0"), (950, "950"), (12345, "12.35k"), (3.4e7, "34M")])
def test_large_numbers_are_short(value: float, shown: str) -> None:
    assert short(value) == shown


def test_the_plots_of_a_step_are_not_listed_among_its_evidence() -> None:
    detail = {"plot": "Packets", "unit": "packets", "at": [0, 1], "series": {"egress": [1, 2]}}
    lonely = {"plot": "One sample", "unit": "", "at": [0], "series": {"egress": [1]}}
    record = LabStep(
        lab="metrics", step="over-time", title="Over time", place="operator", status="pass",
        evidence=(Evidence(kind="kernel", detail=detail), Evidence(kind="kernel", detail=lonely)),
    )  # fmt: skip
    (card,) = labs([record], [], Ids())
    (step,) = card.steps
    assert [one.title for one in step.plots] == ["Packets"]
    assert step.plots[0].series == (Series("egress", (1.0, 2.0)),)
    assert len(step.evidence) == 1
