"""The suite on a cluster of others beside the suite on one of ours: `uv run python bench/existing.py` as root.

Each round brings the same cluster up twice. Once the suite runs on it by its name, and once on nothing but its
kubeconfig, from a state directory that knows of no cluster; both deploy their pods. Ratios are those of one round.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.rounds import NAME, asked, repeat, row, table

SECONDS = "{:.1f} s"
PREFLIGHT = 3.0
MOST = 2.0


@dataclass(frozen=True)
class Round:
    """Seconds that each took.

    Args:
        lab: `test --cluster`.
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
    lab = timed(home, "state", "test", "--cluster", NAME)
    timed(home, "state", "down", NAME)
    up()
    preflight = timed(home, "elsewhere", "doctor", *kubeconfig)
    existing = timed(home, "elsewhere", "test", *kubeconfig)
    timed(home, "state", "down", NAME)
    return Round(lab, preflight, existing)


def markdown(rounds: list[Round], load: float) -> str:
    """The table."""
    preflight = [one.preflight for one in rounds]
    ratios = [one.existing / one.lab for one in rounds]
    return table(
        [
            row("`test --cluster`", [one.lab for one in rounds], SECONDS),
            row("`test --kubeconfig`", [one.existing for one in rounds], SECONDS),
            row("`doctor --kubeconfig`", preflight, SECONDS, "3 s", lambda it: it <= PREFLIGHT),
            row("ratio of the suites", ratios, "{:.2f}", "at most 2", lambda it: it <= MOST),
        ],
        load,
    )


def main() -> None:
    """Measure and print."""
    number, load = asked(__doc__), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="cnilab-bench-") as home:
        try:
            rounds = repeat(number, lambda: measure(Path(home)))
        finally:
            timed(Path(home), "state", "down", "--all")
    click.echo(markdown(rounds, load), nl=False)


if __name__ == "__main__":
    main()
