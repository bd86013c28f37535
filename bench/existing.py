"""The suite on a cluster of others beside the suite on a lab: `uv run python bench/existing.py` as root.

Each round brings the same lab up twice. Once the suite runs on the lab, and once on nothing but its kubeconfig, from a
state directory that knows of no lab; both deploy their pods. Ratios are those of one round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click

from harness.cli.runs import host_facts

NAME = f"bench{os.getpid() % 10000}"
PREFLIGHT = 3.0
MOST = 2.0


@dataclass(frozen=True)
class Round:
    """Seconds that each took.

    Args:
        lab: `test` on the lab.
        preflight: `doctor --kubeconfig`.
        existing: `test --kubeconfig`, its own preflight included.
    """

    lab: float
    preflight: float
    existing: float


def timed(home: Path, state: str, *words: str) -> float:
    """Wall-clock seconds of a command of cnilab; ends all if it fails."""
    environment = {**os.environ, "CI": "1", "CNILAB_STATE": str(home / state)}
    argv = [sys.executable, "-m", "harness.cli.main", *words]
    began = time.monotonic()
    done = subprocess.run(argv, cwd=home, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"cnilab {' '.join(words)}: exit status {done.returncode}\n{done.stderr}")
    return time.monotonic() - began


def measure(home: Path) -> Round:
    """Both ways, one after the other, each on a cluster that is new."""

    def up() -> None:
        timed(home, "state", "up", "flannel", "--name", NAME)

    kubeconfig = ("--kubeconfig", str(home / "state" / "labs" / NAME / "kubeconfig"))
    up()
    lab = timed(home, "state", "test", "--lab", NAME)
    timed(home, "state", "down", NAME)
    up()
    preflight = timed(home, "elsewhere", "doctor", *kubeconfig)
    existing = timed(home, "elsewhere", "test", *kubeconfig)
    timed(home, "state", "down", NAME)
    return Round(lab, preflight, existing)


def markdown(rounds: list[Round], load: float) -> str:
    """The table, with the machine above it."""
    ratios = [one.existing / one.lab for one in rounds]
    preflight, ratio = statistics.median(one.preflight for one in rounds), statistics.median(ratios)

    def row(what: str, values: list[str], median: str, budget: str = "", met: str = "") -> str:
        return f"| {what} | {', '.join(values)} | {median} | {budget} | {met} |"

    def seconds(values: list[float]) -> tuple[list[str], str]:
        return [f"{value:.1f} s" for value in values], f"{statistics.median(values):.1f} s"

    def within(value: float, most: float) -> str:
        return "yes" if value <= most else "**no**"

    machine = "{system}, Linux {kernel}, {cores} cores, {memory}, cgroups {cgroups}".format(**host_facts())
    return "\n".join(
        (
            f"{machine}; load average {load:.1f} before; two nodes, flannel.",
            "",
            "| what | seen | median | budget | met |",
            "|---|---|---:|---:|---|",
            row("`test` on the lab", *seconds([one.lab for one in rounds])),
            row("`test --kubeconfig`", *seconds([one.existing for one in rounds])),
            row(
                "`doctor --kubeconfig`",
                *seconds([one.preflight for one in rounds]),
                "3 s",
                within(preflight, PREFLIGHT),
            ),
            row(
                "ratio of the suites",
                [f"{one:.2f}" for one in ratios],
                f"{ratio:.2f}",
                "at most 2",
                within(ratio, MOST),
            ),
            "",
        )
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="rounds")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="cnilab-bench-") as home:
        rounds = []
        try:
            for number in range(options.repeat):
                rounds.append(measure(Path(home)))
                click.echo(f"round {number + 1}: {rounds[-1]}", err=True)
        finally:
            timed(Path(home), "state", "down", "--all")
    click.echo(markdown(rounds, load), nl=False)


if __name__ == "__main__":
    main()
