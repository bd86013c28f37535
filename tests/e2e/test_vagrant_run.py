"""Machines that Vagrant starts from a box of our own, on a libvirt of our own, become a cluster without any download.

Emulated in software this takes long: `tox -e vagrant`, nightly. CNILAB_VAGRANT_TESTS=1 runs it anywhere.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.components.lock import architecture
from harness.components.store import Store
from tests.e2e import snapshot
from tests.e2e.conftest import PREFIX, Cli
from tests.e2e.hypervisor import Hypervisor, hypervisor, install

pytestmark = [
    pytest.mark.skipif(not os.environ.get("CNILAB_VAGRANT_TESTS"), reason="takes long: tox -e vagrant"),
    pytest.mark.skipif(architecture() != "amd64", reason="the box is made for PCs"),
    pytest.mark.timeout(7200, func_only=True),
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
    """A rendered lab, and what runs of it.

    Args:
        cli: The command line, outside.
        folder: What was rendered.
        hypervisor: Where its machines are.
    """

    cli: Cli
    folder: Path
    hypervisor: Hypervisor

    @property
    def environment(self) -> dict[str, str]:
        """For programs that work in the folder."""
        home = self.folder.parent
        return {
            **self.cli.environment,
            "VAGRANT_HOME": str(home / "vagrant.d"),
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "VAGRANT_DEFAULT_PROVIDER": "libvirt",
            "ANSIBLE_HOME": str(home / "ansible"),
            "KUBECONFIG": str(self.folder / "kubeconfig"),
            "KUBECACHEDIR": str(home / "kubectl"),
            "CNILAB_TIMEOUT_SCALE": os.environ.get("CNILAB_TIMEOUT_SCALE", "12"),
        }

    def __call__(self, *words: str | Path, timeout: float = 600) -> str:
        """Run a program in the folder, and insist on its success."""
        begin = time.monotonic()
        done = self.hypervisor.run(*words, folder=self.folder, env=self.environment, timeout=timeout)
        sys.stderr.write(f"{time.monotonic() - begin:6.0f} s  {' '.join(map(str, words))}\n")
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
        return done.stdout

    def playbook(self, name: str) -> str:
        """Run a playbook."""
        return self(Path(sys.executable).with_name("ansible-playbook"), f"playbooks/{name}", timeout=5400)

    def on(self, machine: str, *words: str) -> str:
        """Run a program on a machine, as root."""
        return self("ssh", "-F", "ssh_config", machine, "sudo", *words)

    def nodes(self) -> list[dict[str, Any]]:
        """Of the cluster."""
        found: list[dict[str, Any]] = json.loads(self(kubectl(), "get", "nodes", "-o", "json"))["items"]
        return found


def kubectl() -> Path:
    """The project's own."""
    return Store().bin_dir(["kubernetes"]) / "kubectl"


@pytest.fixture(scope="module")
def machines(warm: Cli, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """A cluster; afterwards the machine is as it was."""
    del warm
    install()
    cli = Cli(tmp_path_factory.mktemp("vagrant"))
    box = cli("components", "build-box", "-q", timeout=7200).stdout.strip()
    (cli.home / "lab.yaml").write_text(SPEC)
    cli("render", cli.home / "lab.yaml", "--to", cli.home / "lab")
    before = snapshot.take([NAME])
    with hypervisor(cli.home / "libvirt") as libvirt:
        lab = Machines(cli, cli.home / "lab", libvirt)
        lab("vagrant", "box", "add", "--name", "cnilab/node", box)
        lab("vagrant", "up", timeout=5400)
        (lab.folder / "ssh_config").write_text(lab("vagrant", "ssh-config"))
        yield lab
        lab("vagrant", "destroy", "-f")
        assert lab("virsh", "-c", "qemu:///system", "list", "--all", "--name").strip() == ""
    assert snapshot.settle(before, [NAME]) == {}


@pytest.fixture(scope="module")
def cluster(machines: Machines) -> Machines:
    """With flannel, and every node ready."""
    machines.playbook("vagrant-cluster.yaml")
    program = kubectl()
    machines(program, "apply", "-f", "manifests/")
    machines(program, "wait", "--for=condition=Ready", "node", "--all", "--timeout=1800s", timeout=1900)
    machines(
        program, "wait", "--for=condition=Ready", "pod", "--all", "-A", "--timeout=1800s", timeout=1900
    )  # kubeadm's, flannel's and the DNS
    return machines


def test_every_machine_has_the_same_kernel_which_is_not_this_ones(machines: Machines) -> None:
    releases = {machines.on(name, "uname", "-r").strip() for name in ("router", "n1", "n2")}
    assert len(releases) == 1
    assert "-cloud-" in releases.pop()


def test_nodes_have_their_addresses_on_the_second_nic(cluster: Machines) -> None:
    addresses = {
        node["metadata"]["name"]: [one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP"]
        for node in cluster.nodes()
    }
    assert addresses == {"n1": ["172.18.0.11"], "n2": ["172.18.0.12"]}


def test_the_outside_world_answers_behind_the_router(cluster: Machines) -> None:
    outside = cluster.on("router", "ip", "-j", "-4", "addr", "show", "dev", "world0")
    address = json.loads(outside)[0]["addr_info"][0]["local"]
    assert "1 received" in cluster.on("n2", "ping", "-c", "1", "-W", "10", address)


def test_the_suite_passes(cluster: Machines) -> None:
    words = [*cluster.cli.argv("test", "--kubeconfig", cluster.folder / "kubeconfig")]
    done = cluster.hypervisor.run(*words, folder=cluster.cli.home, env=cluster.environment, timeout=5400)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def test_the_playbook_changes_nothing_when_it_is_run_again(cluster: Machines) -> None:
    recap = cluster.playbook("vagrant-cluster.yaml").partition("PLAY RECAP")[2]
    assert recap.count("changed=0") == recap.count("unreachable=0") == 3, recap


def test_no_machine_reaches_anything_but_the_lab(cluster: Machines) -> None:
    """So that what was proved did not need a network: the hypervisor's own has no way out."""
    with pytest.raises(AssertionError):
        cluster.on("n1", "curl", "--silent", "--max-time", "20", "http://deb.debian.org/")


def test_the_box_is_the_same_until_something_in_it_changes(machines: Machines) -> None:
    once, twice = (machines.cli("components", "build-box", "-q").stdout for _ in range(2))
    assert once == twice
