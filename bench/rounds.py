"""What benchmarks in rounds have in common: each round measures all there is, and ratios are those of one round."""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable
from typing import TypeVar

import click

from harness.cli.runs import host_facts

NAME = f"bench{os.getpid() % 10000}"

T = TypeVar("T")


def asked(description: str | None) -> int:
    """How many rounds the command line asks for."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--repeat", type=int, default=3, help="rounds")
    return int(parser.parse_args().repeat)


def repeat(number: int, measure: Callable[[], T]) -> list[T]:
    """Measure some rounds, and say each."""
    rounds = []
    for one in range(1, number + 1):
        rounds.append(measure())
        click.echo(f"round {one}: {rounds[-1]}", err=True)
    return rounds


def row(
    what: str, values: list[float], form: str, budget: str = "", accepts: Callable[[float], bool] | None = None
) -> str:
    """A line of the table.

    Args:
        what: What was measured.
        values: One per round.
        form: Format of a value, as `{:.1f} s`.
        budget: In words.
        accepts: Whether a median is within the budget; None where there is none.
    """
    median = statistics.median(values)
    met = "" if accepts is None else "yes" if accepts(median) else "**no**"
    return f"| {what} | {', '.join(map(form.format, values))} | {form.format(median)} | {budget} | {met} |"


def table(rows: list[str], load: float, variant: str = "flannel") -> str:
    """All lines, with the machine above them.

    Args:
        rows: Of `row`.
        load: Load average before.
        variant: Which network.
    """
    machine = "{system}, Linux {kernel}, {cores} cores, {memory}, cgroups {cgroups}".format(**host_facts())
    heading = ["| what | seen | median | budget | met |", "|---|---|---:|---:|---|"]
    return "\n".join([f"{machine}; load average {load:.1f} before; two nodes, {variant}.", "", *heading, *rows, ""])
