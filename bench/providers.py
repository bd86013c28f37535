"""Namespaces beside kind, and kind beside itself: `uv run python bench/providers.py` as root.

Each round makes, one after the other, a lab of namespaces, a lab on kind, and what plain `kind create cluster` makes of
the same node image without any pod network. Ratios are those of one round, so that a slow spell of the machine meets
all three; the table has the median of the rounds. Where no Docker engine answers, one of the tests' own is started.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from harness import yamlio
from harness.cli.context import default_cache
from harness.cli.runs import host_facts
from harness.components.store import Store
from harness.model.journal import Journal

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.e2e.engine import Engine, engine

NAME = f"bench{os.getpid() % 10000}"
NODES = 2
MOST = 1.1
LEAST = 4.0


@dataclass(frozen=True)
class Round:
    """Seconds that each took, one after the other.

    Args:
        namespaces: `up flannel`: nodes Ready, DNS answers.
        kind: The same with `--provider kind`.
        plain: `kind create cluster` without a pod network: no node is Ready after it.
    """

    namespaces: float
    kind: float
    plain: float


class Bench:
    """Runs programs against one engine, in a state directory of its own.

    Args:
        home: Working directory.
        docker: The engine.
        kind: The program.
    """

    def __init__(self, home: Path, docker: Engine, kind: Path) -> None:
        self.home = home
        self.docker = docker
        self.kind = kind

    def timed(self, *argv: str | Path) -> tuple[float, str]:
        """Wall-clock seconds of a program where the engine's ports are, and what it printed; ends all if it fails."""
        environment = {
            **os.environ,
            "CI": "1",
            "CNILAB_STATE": str(self.home / "state"),
            "DOCKER_HOST": self.docker.socket,
            "PATH": f"{self.docker.programs}:{os.environ['PATH']}",
        }
        began = time.monotonic()
        done = subprocess.run(
            [*self.docker.enter, *argv], cwd=self.home, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{' '.join(map(str, argv))}: exit status {done.returncode}\n{done.stderr}")
        return time.monotonic() - began, done.stdout.strip()

    def cnilab(self, *words: str) -> tuple[float, str]:
        """The same for a command of cnilab."""
        return self.timed(sys.executable, "-m", "harness.cli.main", *words)

    def plain(self, image: str) -> float:
        """`kind create cluster` with as many nodes, and nothing else."""
        nodes = [{"role": "worker" if number else "control-plane", "image": image} for number in range(NODES)]
        config = {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": nodes}
        path = self.home / "plain.yaml"
        path.write_text(yamlio.dumps({**config, "networking": {"disableDefaultCNI": True}}), encoding="utf-8")
        kubeconfig = str(self.home / "plain.kubeconfig")
        words = ("cluster", "--name", f"{NAME}-plain", "--kubeconfig", kubeconfig)
        try:
            return self.timed(self.kind, "create", *words, "--config", str(path))[0]
        finally:
            self.timed(self.kind, "delete", *words)

    def round(self, image: str) -> Round:
        """All three, one after the other."""
        namespaces = self.cnilab("up", "flannel", "--name", NAME)[0]
        self.cnilab("down", NAME)
        kind = self.cnilab("up", "flannel", "--provider", "kind", "--name", NAME)[0]
        self.cnilab("down", NAME)
        return Round(namespaces, kind, self.plain(image))


def markdown(rounds: list[Round], load: float) -> str:
    """The table, with the machine above it."""

    def seconds(what: str, values: list[float]) -> str:
        seen = ", ".join(f"{value:.1f} s" for value in values)
        return f"| {what} | {seen} | {statistics.median(values):.1f} s | | |"

    def ratio(what: str, values: list[float], budget: str, accepts: Callable[[float], bool]) -> str:
        seen, median = ", ".join(f"{value:.2f}" for value in values), statistics.median(values)
        return f"| {what} | {seen} | {median:.2f} | {budget} | {'yes' if accepts(median) else '**no**'} |"

    beside = [one.kind / one.plain for one in rounds]
    faster = [one.kind / one.namespaces for one in rounds]
    machine = "{system}, Linux {kernel}, {cores} cores, {memory}, cgroups {cgroups}".format(**host_facts())
    return "\n".join(
        (
            f"{machine}; load average {load:.1f} before; {NODES} nodes, flannel.",
            "",
            "| what | seen | median | budget | met |",
            "|---|---|---:|---:|---|",
            seconds("`up`", [one.namespaces for one in rounds]),
            seconds("`up --provider kind`", [one.kind for one in rounds]),
            seconds("plain `kind create cluster`, no pod network", [one.plain for one in rounds]),
            ratio("`up --provider kind` / plain kind", beside, "at most 1.1", lambda value: value <= MOST),
            ratio("`up --provider kind` / `up`", faster, "at least 4", lambda value: value >= LEAST),
            "",
        )
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="rounds")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    program = Store(default_cache(), journal=Journal(None)).ensure(["kind"])["kind"].path
    with (
        tempfile.TemporaryDirectory(prefix="cnilab-bench-") as home,
        tempfile.TemporaryDirectory(prefix="cnilab-engine-") as place,
        engine(Path(place), f"/cnilab/{NAME}.engine") as docker,
    ):
        bench = Bench(Path(home), docker, program)
        image = bench.cnilab("components", "build-node-image", "-q")[1]
        rounds = []
        try:
            for number in range(options.repeat):
                rounds.append(bench.round(image))
                click.echo(f"round {number + 1}: {rounds[-1]}", err=True)
        finally:
            bench.cnilab("down", "--all")
    click.echo(markdown(rounds, load), nl=False)


if __name__ == "__main__":
    main()
