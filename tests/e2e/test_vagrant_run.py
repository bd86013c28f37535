"""One command makes a lab of virtual machines, from a box of our own, on a libvirt of our own, without any download.

Emulated in software this takes long: `tox -e vagrant`, nightly. CNILAB_VAGRANT_TESTS=1 runs it anywhere.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.components.lock import architecture
from harness.timeouts import wait_until
from tests.e2e import snapshot, stores
from tests.e2e.conftest import PREFIX, Cli
from tests.e2e.hypervisor import Hypervisor, hypervisor, install
from tests.e2e.verdicts import red

pytestmark = [
    pytest.mark.skipif(not os.environ.get("CNILAB_VAGRANT_TESTS"), reason="takes long: tox -e vagrant"),
    pytest.mark.skipif(architecture() != "amd64", reason="the box is for PCs"),
    pytest.mark.timeout(10800, func_only=True),
]

NAME = f"{PREFIX}-vm"
SPEC = f"""\
apiVersion: cnilab.dev/v1
kind: Lab
metadata: {{name: {NAME}}}
spec:
  provider: vagrant
  cni: flannel
  nodes: 2
  vagrant: {{hypervisor: qemu, box: cnilab/node}}
"""


@dataclass
class Machines:
    """A hypervisor, and who uses it.

    Args:
        cli: The command line.
        hypervisor: Where virtual machines are.
    """

    cli: Cli
    hypervisor: Hypervisor

    @property
    def environment(self) -> dict[str, str]:
        """For programs that work in there."""
        return {
            **self.cli.environment,
            "VAGRANT_HOME": str(self.cli.home / "vagrant.d"),
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "KUBECACHEDIR": str(self.cli.home / "discovery"),
            "CNILAB_TIMEOUT_SCALE": os.environ.get("CNILAB_TIMEOUT_SCALE", "12"),
        }

    def run(self, *words: str | Path, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run a program in there, and say how long it took."""
        begin = time.monotonic()
        done = self.hypervisor.run(*words, folder=self.cli.home, env=self.environment, timeout=timeout)
        sys.stderr.write(f"{time.monotonic() - begin:6.0f} s  {' '.join(map(str, words))}\n")
        return done

    def __call__(self, *words: str | Path, timeout: float = 600) -> str:
        """Run cnilab in there, and insist on its success."""
        done = self.run(*self.cli.argv(*words), timeout=timeout)
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
        return done.stdout

    def virsh(self, *words: str) -> str:
        """What libvirt has."""
        return self.run("virsh", "-q", "-c", "qemu:///system", *words).stdout


def kubectl() -> Path:
    """The project's own."""
    return stores.store().bin_dir(["kubernetes"]) / "kubectl"


@pytest.fixture(scope="module")
def machines(warm: Cli, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """A hypervisor with a box; afterwards the machine is as it was."""
    del warm
    install()
    cli = Cli(tmp_path_factory.mktemp("vagrant"))
    box = cli("components", "build-box", "-q", timeout=7200).stdout.strip()
    (cli.home / "lab.yaml").write_text(SPEC)
    before = snapshot.take([NAME])
    with hypervisor(cli.home / "libvirt") as libvirt:
        there = Machines(cli, libvirt)
        assert there.run("vagrant", "box", "add", "--name", "cnilab/node", box).returncode == 0
        yield there
        assert there.virsh("list", "--all", "--name").strip() == ""
    assert snapshot.settle(before, [NAME]) == {}


def test_a_killed_bring_up_leaves_nothing_that_down_does_not_find(machines: Machines) -> None:
    """First of all: the machines of the other tests come after it."""
    words = machines.cli.argv("up", "lab.yaml")
    process = subprocess.Popen(
        [*machines.hypervisor.enter(machines.cli.home), *words],
        env={**os.environ, **machines.environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until("a machine to be there", lambda: "-n1" in machines.virsh("list", "--all", "--name"), 300, interval=1)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    machines("down", NAME)
    assert machines.virsh("list", "--all", "--name").strip() == ""
    assert NAME not in machines.virsh("net-list", "--all", "--name")
    assert NAME not in machines.virsh("vol-list", "default")
    assert json.loads(machines("status", "-o", "json"))["items"] == []


@pytest.fixture(scope="module")
def lab(machines: Machines) -> Iterator[Machines]:
    """A lab by one command."""
    machines("up", "lab.yaml", "--retain", "--run-dir", machines.cli.home / "run", timeout=9000)
    yield machines
    machines("down", NAME)


def test_every_machine_has_the_same_kernel_which_is_not_this_ones(lab: Machines) -> None:
    releases = {lab("exec", name, "--", "uname", "-r").strip() for name in ("router", "n1", "n2")}
    assert len(releases) == 1
    assert "-cloud-" in releases.pop()


def test_every_machine_runs_and_nodes_have_their_addresses_on_the_second_nic(lab: Machines) -> None:
    found = {item["name"]: item for item in json.loads(lab("status", NAME, "-o", "json"))["items"]}
    assert {name: item["status"] for name, item in found.items()} == dict.fromkeys(("n1", "n2", "router"), "Running")
    done = lab.run(kubectl(), "--kubeconfig", lab.cli.state / f"labs/{NAME}/kubeconfig", "get", "nodes", "-o", "json")
    nodes: list[dict[str, Any]] = json.loads(done.stdout)["items"]
    addresses = {
        node["metadata"]["name"]: [one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP"]
        for node in nodes
    }
    assert addresses == {"n1": ["172.18.0.11"], "n2": ["172.18.0.12"]}


def test_the_outside_world_answers_behind_the_router(lab: Machines) -> None:
    assert "1 received" in lab("exec", "n2", "--", "ping", "-c", "1", "-W", "10", "8.8.8.8")
    assert "198.51.100.10" in lab("exec", "far", "--", "ip", "-4", "addr", "show", "dev", "eth0")


def test_a_lab_runs(lab: Machines) -> None:
    steps = json.loads(lab("apply", "pod-pause", "-o", "json", timeout=3600))["items"][0]["steps"]
    assert {step["status"] for step in steps} <= {"pass", "record"}, steps


def test_the_suite_passes_with_what_the_router_saw(lab: Machines) -> None:
    done = lab.run(*lab.cli.argv("test", "-o", "json"), timeout=7200)
    results = json.loads(done.stdout)["items"]
    assert red(results) == {}
    assert [item["id"] for item in results if item["status"] == "pass" and item["id"].startswith("egress.")]


def test_evidence_and_a_report(lab: Machines) -> None:
    folder = Path(lab("collect", timeout=1800).strip())
    assert {path.name for path in folder.iterdir()} >= {"n1", "n2", "router", "vagrant.log"}
    assert "report.html" in lab("report", "--cluster", NAME)


def test_no_machine_reaches_anything_but_the_lab(lab: Machines) -> None:
    """So that what was proved did not need a network: the hypervisor's own has no way out."""
    words = ("exec", "n1", "--", "curl", "--silent", "--max-time", "20", "http://deb.debian.org/")
    assert lab.run(*lab.cli.argv(*words)).returncode != 0


def test_the_box_is_the_same_until_something_in_it_changes(machines: Machines) -> None:
    once, twice = (machines.cli("components", "build-box", "-q").stdout for _ in range(2))
    assert once == twice
