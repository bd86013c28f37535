"""A cluster of both IP families beside one of IPv4 alone: `uv run python bench/families.py` as root.

Each round brings up both, one after the other, judges each and takes it down; every second round begins with the other
one. Ratios are those of one round, so that a slow spell of the machine meets both; the table has the median of the
rounds. The suite of both families asks more: each requirement that has to do with an address has legs of its own.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.bench import NAME, Bench
from bench.rounds import repeat, row, table

MOST = 1.15


@dataclass(frozen=True)
class Cost:
    """What one cluster took.

    Args:
        up: Seconds of `up`, until DNS answers.
        test: Seconds of `test`.
        memory: Proportional set size of the cluster's processes after `up`, in MB.
    """

    up: float
    test: float
    memory: float


Round = dict[str, Cost]


class Families:
    """Measures with the command line alone.

    Args:
        bench: Runs it.
        variant: Which network.
    """

    def __init__(self, bench: Bench, variant: str) -> None:
        self.bench = bench
        self.variant = variant
        self.order = itertools.cycle((("ipv4", "dual"), ("dual", "ipv4")))

    def cost(self, family: str) -> Cost:
        """Bring a cluster up, judge it, take it down."""
        up = self.bench.timed("up", self.variant, "--name", NAME, "--ip-family", family)
        memory = self.bench.memory()
        test = self.bench.timed("test")
        self.bench.run("down", NAME)
        return Cost(up, test, memory)

    def round(self) -> Round:
        """Both, in this round's order."""
        return {family: self.cost(family) for family in next(self.order)}


def markdown(rounds: list[Round], variant: str, load: float) -> str:
    """The table."""

    def both(what: str, value: Callable[[Cost], float], form: str) -> list[str]:
        ratios = [value(one["dual"]) / value(one["ipv4"]) for one in rounds]
        return [
            row(f"{what}, IPv4", [value(one["ipv4"]) for one in rounds], form),
            row(f"{what}, both", [value(one["dual"]) for one in rounds], form),
            row(f"{what}, both / IPv4", ratios, "{:.2f}", f"at most {MOST:g}", lambda it: it <= MOST),
        ]

    rows = [
        *both("`up`", lambda one: one.up, "{:.1f} s"),
        *both("`test`", lambda one: one.test, "{:.1f} s"),
        *both("`up` and `test`", lambda one: one.up + one.test, "{:.1f} s"),
        *both("memory (PSS)", lambda one: one.memory, "{:.0f} MB"),
    ]
    return table(rows, load, variant)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=4, help="rounds")
    parser.add_argument("--variant", default="flannel", help="network")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="cnilab-bench-") as home:
        bench = Bench(Path(home))
        try:
            rounds = repeat(options.repeat, Families(bench, options.variant).round)
        finally:
            bench.run("down", "--all")
    click.echo(markdown(rounds, options.variant, load), nl=False)


if __name__ == "__main__":
    main()
