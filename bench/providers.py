"""Namespaces beside kind, and kind beside itself: `uv run python bench/providers.py` as root.

Each round makes, one after the other, a lab of namespaces, a lab on kind, and a cluster by hand of the same node image:
`kind create cluster` without any pod network, then `kubectl apply` of flannel and `kubectl wait`. Ratios are those of
one round, so that a slow spell of the machine meets all three; the table has the median of the rounds. Where no Docker
engine answers, one of the tests' own is started.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import click

from harness import yamlio
from harness.cli.context import default_cache
from harness.components.store import Store
from harness.model.journal import Journal

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.rounds import NAME, asked, repeat, row, table
from tests.e2e.engine import Engine, engine

NODES = 2
MOST = 1.1
FASTER = ("at least 4", lambda ratio: ratio >= 4.0)


@dataclass(frozen=True)
class Took:
    """Seconds since the command was given.

    Args:
        ready: Until all nodes were Ready, with flannel.
        whole: Until the command had ended; by hand, until `kind create cluster` had, before there was a pod network.
    """

    ready: float
    whole: float


@dataclass(frozen=True)
class Round:
    """What each took, one after the other.

    Args:
        namespaces: `up flannel`: nodes Ready, then DNS answers.
        kind: The same with `--provider kind`.
        hand: kind and kubectl by hand.
    """

    namespaces: Took
    kind: Took
    hand: Took


class Bench:
    """Runs programs against one engine, in a state directory of its own.

    Args:
        home: Working directory.
        docker: The engine.
        programs: Directory of `kind` and `kubectl`.
    """

    def __init__(self, home: Path, docker: Engine, programs: Path) -> None:
        self.home = home
        self.docker = docker
        self.kind = programs / "kind"
        self.kubectl = programs / "kubectl"

    def timed(self, *argv: str | Path) -> tuple[float, str]:
        """Wall-clock seconds of a program where the engine's ports are, and what it printed; ends all if it fails."""
        began = time.monotonic()
        printed = self._run(*self.docker.enter, *argv)
        return time.monotonic() - began, printed

    def _run(self, *argv: str | Path) -> str:
        environment = {
            **os.environ,
            "CI": "1",
            "CNILAB_STATE": str(self.home / "state"),
            "DOCKER_HOST": self.docker.socket,
            "PATH": f"{self.docker.programs}:{os.environ['PATH']}",
        }
        done = subprocess.run(argv, cwd=self.home, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(map(str, argv))}: exit status {done.returncode}\n{done.stderr}")
        return done.stdout.strip()

    def node_image(self) -> str:
        """Made in the machine's own network namespace: that of the engine has no way out."""
        return self._run(sys.executable, "-m", "harness.cli.main", "components", "build-node-image", "-q")

    def cnilab(self, *words: str) -> tuple[float, str]:
        """The same for a command of cnilab."""
        return self.timed(sys.executable, "-m", "harness.cli.main", *words)

    def up(self, *words: str) -> Took:
        """Bring a lab up, and take it down again."""
        began = time.time()
        whole = self.cnilab("up", "flannel", "--name", NAME, *words)[0]
        journal = max((self.home / ".runs").glob(f"*-{NAME}"), key=lambda run: run.stat().st_mtime) / "events.jsonl"
        events = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
        at = next(one["at"] for one in events if one["step"] == "up.ready" and one["state"] == "ok")
        self.cnilab("down", NAME)
        return Took(datetime.fromisoformat(at).timestamp() - began, whole)

    def hand(self, image: str) -> Took:
        """`kind create cluster` with as many nodes, then flannel, as flannel's own manual has it."""
        nodes = [{"role": "worker" if number else "control-plane", "image": image} for number in range(NODES)]
        config = {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": nodes}
        # Without it kubelet of 1.35 and later does not start on a machine with cgroup v1.
        config["kubeadmConfigPatches"] = ["kind: KubeletConfiguration\nfailCgroupV1: false\n"]
        path = self.home / "hand.yaml"
        path.write_text(yamlio.dumps({**config, "networking": {"disableDefaultCNI": True}}), encoding="utf-8")
        kubeconfig = str(self.home / "hand.kubeconfig")
        words = ("cluster", "--name", f"{NAME}-hand", "--kubeconfig", kubeconfig)
        kubectl = (self.kubectl, "--kubeconfig", kubeconfig, "--cache-dir", str(self.home / "kubectl"))
        manifest = self.manifest()
        try:
            made = self.timed(self.kind, "create", *words, "--config", str(path))[0]
            applied = self.timed(*kubectl, "apply", "-f", manifest)[0]
            waited = self.timed(*kubectl, "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=120s")[0]
        finally:
            self.delete(words)
        return Took(made + applied + waited, made)

    def delete(self, words: tuple[str, ...]) -> None:
        """Delete a cluster; once more where the engine did not hear in time that a container ended."""
        with contextlib.suppress(SystemExit):
            self.timed(self.kind, "delete", *words)
            return
        self.timed(self.kind, "delete", *words)

    def manifest(self) -> Path:
        """Flannel's objects as they are upstream: see harness.cni.flannel.manifests for what differs."""
        self.cnilab("render", "flannel", "--provider", "kind", "--to", str(self.home / "plan"))
        objects = yamlio.loads_all((self.home / "plan/manifests/flannel.yaml").read_text(encoding="utf-8"))
        for one in objects:
            if one["kind"] == "DaemonSet":
                pod = one["spec"]["template"]["spec"]
                (container,) = pod["containers"]
                ours = ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT")
                container["env"] = [name for name in container["env"] if name["name"] not in ours]
                del container["lifecycle"], container["readinessProbe"]
                pod["initContainers"].append(
                    {
                        "name": "install-cni",
                        "image": container["image"],
                        "command": ["cp"],
                        "args": ["-f", "/etc/kube-flannel/cni-conf.json", "/etc/cni/net.d/10-flannel.conflist"],
                        "volumeMounts": [
                            {"name": "cni", "mountPath": "/etc/cni/net.d"},
                            {"name": "flannel-cfg", "mountPath": "/etc/kube-flannel/"},
                        ],
                    }
                )
        path = self.home / "flannel.yaml"
        path.write_text(yamlio.dumps_all(objects), encoding="utf-8")
        return path

    def round(self, image: str) -> Round:
        """All three, one after the other."""
        return Round(self.up(), self.up("--provider", "kind"), self.hand(image))


def markdown(rounds: list[Round], load: float) -> str:
    """The table."""

    def seconds(what: str, value: Callable[[Round], float]) -> str:
        return row(what, [value(one) for one in rounds], "{:.1f} s")

    def ratio(what: str, value: Callable[[Round], float], budget: str, accepts: Callable[[float], bool]) -> str:
        return row(what, [value(one) for one in rounds], "{:.2f}", budget, accepts)

    beside = "whole `up --provider kind` / `kind create cluster`"
    return table(
        [
            seconds("`up`: nodes Ready", lambda one: one.namespaces.ready),
            seconds("`up`: DNS answers", lambda one: one.namespaces.whole),
            seconds("`up --provider kind`: nodes Ready", lambda one: one.kind.ready),
            seconds("`up --provider kind`: DNS answers", lambda one: one.kind.whole),
            seconds("`kind create cluster`, no pod network", lambda one: one.hand.whole),
            seconds("`kind create cluster`, flannel by kubectl: nodes Ready", lambda one: one.hand.ready),
            ratio(beside, lambda one: one.kind.whole / one.hand.whole, "at most 1.1", lambda it: it <= MOST),
            ratio("Ready: kind by hand / `up`", lambda one: one.hand.ready / one.namespaces.ready, *FASTER),
            ratio("Ready: `up --provider kind` / `up`", lambda one: one.kind.ready / one.namespaces.ready, *FASTER),
        ],
        load,
    )


def main() -> None:
    """Measure and print."""
    number, load = asked(__doc__), os.getloadavg()[0]
    programs = Store(default_cache(), journal=Journal(None)).bin_dir(["kind", "kubernetes"])
    with (
        tempfile.TemporaryDirectory(prefix="cnilab-bench-") as home,
        tempfile.TemporaryDirectory(prefix="cnilab-engine-") as place,
        engine(Path(place), f"/cnilab/{NAME}.engine") as docker,
    ):
        bench = Bench(Path(home), docker, programs)
        image = bench.node_image()
        bench.up()  # what is made at most once is made now: images, and Python's own cache
        try:
            rounds = repeat(number, lambda: bench.round(image))
        finally:
            bench.cnilab("down", "--all")
    click.echo(markdown(rounds, load), nl=False)


if __name__ == "__main__":
    main()
