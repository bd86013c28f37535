"""What is rendered for Vagrant is what Vagrant and Ansible accept. No machine is started."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Cli
from tests.e2e.hypervisor import install

HYPERVISORS = ("virtualbox", "libvirt", "qemu")


@pytest.fixture
def vagrant() -> str:
    install(["vagrant"])
    found = shutil.which("vagrant")
    assert found is not None
    return found


def rendered(folder: Path, hypervisor: str) -> Path:
    """A lab of three nodes, rendered by the command that a user has."""
    spec = folder / "lab.yaml"
    spec.write_text(
        "apiVersion: cnilab.dev/v1\nkind: Lab\nmetadata: {name: shop}\n"
        f"spec: {{provider: vagrant, cni: flannel, nodes: 3, vagrant: {{hypervisor: {hypervisor}}}}}\n"
    )
    Cli(folder)("render", spec, "--to", folder / "shop")
    return folder / "shop"


def validate(vagrant: str, folder: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "VAGRANT_HOME": str(folder / ".vagrant.d"), "VAGRANT_CHECKPOINT_DISABLE": "1"}
    words = [vagrant, "validate", "--ignore-provider"]
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("hypervisor", HYPERVISORS)
def test_vagrant_accepts_the_vagrantfile(hypervisor: str, vagrant: str, tmp_path: Path) -> None:
    done = validate(vagrant, rendered(tmp_path, hypervisor))
    assert done.returncode == 0, done.stdout + done.stderr


def test_vagrant_refuses_one_with_a_mistake(vagrant: str, tmp_path: Path) -> None:
    """So that the test above can fail."""
    folder = rendered(tmp_path, "libvirt")
    file = folder / "Vagrantfile"
    file.write_text(file.read_text().replace("node.vm.hostname", "node.vm.hostnam"))
    assert validate(vagrant, folder).returncode != 0


def test_ansible_lint_has_nothing_to_say(tmp_path: Path) -> None:
    folder = rendered(tmp_path, "virtualbox") / "playbooks"
    words = [
        str(Path(sys.executable).with_name("ansible-lint")),
        "--offline",
        "--profile",
        "production",
        "--project-dir",
        str(folder),
        str(folder / "vagrant-cluster.yaml"),
    ]
    env = {**os.environ, "ANSIBLE_HOME": str(tmp_path / "ansible")}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
