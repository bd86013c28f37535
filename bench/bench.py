"""How long things take, and what they cost, on this machine: `uv run python bench/bench.py` as root.

Measures with the command line alone, as a user would, on a warm cache, and prints a Markdown table with a description
of the machine. The best of several repetitions is shown beside the median: other programs only ever make things slower.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from harness import __version__
from harness.cli.runs import host_facts
from harness.providers.namespaces import cgroups
from harness.providers.namespaces.layout import LabLayout

NAME = f"bench{os.getpid() % 10000}"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        what: What was measured.
        values: One per repetition.
        unit: `s` or `MB`.
        budget: What it should not exceed, in the same unit; None where there is no budget.
    """

    what: str
    values: tuple[float, ...]
    unit: str
    budget: float | None = None

    def cells(self) -> list[str]:
        """Cells of the Markdown row."""
        best, median = min(self.values), statistics.median(self.values)
        form = ".1f" if self.unit == "s" else ".0f"
        budget = "" if self.budget is None else f"{self.budget:g} {self.unit}"
        mark = "" if self.budget is None else "yes" if median <= self.budget else "**no**"
        return [self.what, f"{best:{form}} {self.unit}", f"{median:{form}} {self.unit}", budget, mark]


class Bench:
    """Runs cnilab in a state directory of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, *words: str, ok: tuple[int, ...] = (0,)) -> str:
        """Run a command; returns what it printed to stdout."""
        environment = {**os.environ, "CNILAB_STATE": str(self.home / "state"), "CI": "1"}
        argv = [sys.executable, "-m", "harness.cli.main", *words]
        done = subprocess.run(argv, cwd=self.home, env=environment, capture_output=True, text=True, check=False)
        if done.returncode not in ok:
            sys.exit(f"{' '.join(words)}: exit status {done.returncode}\n{done.stderr}")
        return done.stdout

    def timed(self, *words: str, ok: tuple[int, ...] = (0,)) -> float:
        """Wall-clock seconds of a command, the start of Python included."""
        began = time.monotonic()
        self.run(*words, ok=ok)
        return time.monotonic() - began

    def memory(self) -> float:
        """Proportional set size of the cluster's processes, in MB (proc(5), smaps_rollup): shared pages count once."""
        lab = LabLayout(self.home / "state", NAME).group
        pids = {pid for group in cgroups.groups(lab) for pid in cgroups.processes(group)}
        return sum(_pss(pid) for pid in pids) / 1024


def _pss(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        return 0  # ended meanwhile
    return 0


def measure(bench: Bench, repeat: int, nodes: list[int], say: Callable[[str], None]) -> list[Row]:
    """Measure everything."""
    bench.run("up", "bridge", "--name", NAME, "--nodes", "1")  # warms caches; not measured
    bench.run("down", NAME)
    found: dict[str, list[float]] = {}

    def note(what: str, value: float) -> None:
        found.setdefault(what, []).append(value)
        say(f"{what}: {value:.1f}")

    for _ in range(repeat):
        began = time.monotonic()
        note("up", bench.timed("up", "flannel", "--name", NAME))
        note("memory", bench.memory())
        note("apply", bench.timed("apply", ok=(0, 1)))
        note("test", bench.timed("test", ok=(0, 1)))
        note("collect", bench.timed("collect"))
        note("report", bench.timed("report", "--cluster", NAME))
        note("down", bench.timed("down", NAME))
        note("whole", time.monotonic() - began)
    per_node: dict[int, tuple[float, float]] = {}
    for count in nodes:
        seconds = bench.timed("up", "flannel", "--name", NAME, "--nodes", str(count))
        per_node[count] = (seconds, bench.memory())
        say(f"{count} nodes: {seconds:.1f} s, {per_node[count][1]:.0f} MB")
        bench.run("down", NAME)
    rows = [
        Row("`up`: two nodes, flannel, DNS answering", tuple(found["up"]), "s", 10),
        Row("`apply`: all labs", tuple(found["apply"]), "s"),
        Row("`test`: conformance", tuple(found["test"]), "s", 15),
        Row("`collect`", tuple(found["collect"]), "s"),
        Row("`report`", tuple(found["report"]), "s"),
        Row("`down`", tuple(found["down"]), "s", 2),
        Row("all of `lab-flannel`", tuple(found["whole"]), "s", 60),
        Row("memory of two nodes (PSS)", tuple(found["memory"]), "MB", 1024),
    ]
    return rows + _growth(per_node)


def _growth(per_node: dict[int, tuple[float, float]]) -> list[Row]:
    rows = [Row(f"`up`: {count} nodes", (seconds,), "s") for count, (seconds, _) in per_node.items()]
    rows += [Row(f"memory of {count} nodes", (memory,), "MB") for count, (_, memory) in per_node.items()]
    if len(per_node) > 1:
        few, many = min(per_node), max(per_node)
        more = many - few
        rows.append(Row("each further node, time", ((per_node[many][0] - per_node[few][0]) / more,), "s", 2))
        rows.append(Row("each further node, memory", ((per_node[many][1] - per_node[few][1]) / more,), "MB", 250))
    return rows


def markdown(rows: list[Row], facts: dict[str, Any], load: float) -> str:
    """The table, with the machine above it."""
    machine = "{system}, Linux {kernel}, {cores} cores, {memory}, cgroups {cgroups}".format(**facts)
    lines = [f"cnilab {__version__} on {machine}; load average {load:.1f} before.", ""]
    lines += ["| what | best | median | budget | met |", "|---|---:|---:|---:|---|"]
    lines += [f"| {' | '.join(row.cells())} |" for row in rows]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="repetitions of the two-node job")
    parser.add_argument("--nodes", type=int, nargs="*", default=[2, 5, 10], help="numbers of nodes to compare")
    parser.add_argument("--json", type=Path, help="also write raw values here")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="cnilab-bench-") as home:
        bench = Bench(Path(home))
        try:
            rows = measure(bench, options.repeat, options.nodes, lambda text: click.echo(text, err=True))
        finally:
            bench.run("down", "--all")
    if options.json:
        raw = {row.what: {"values": row.values, "unit": row.unit, "budget": row.budget} for row in rows}
        options.json.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    click.echo(markdown(rows, host_facts(), load), nl=False)


if __name__ == "__main__":
    main()
